#![no_main]

ottla_fuzz::program!(ottla_fuzz::partition_log::TARGET);
