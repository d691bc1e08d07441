#![no_main]

ottla_fuzz::program!(ottla_fuzz::metadata_log::TARGET);
