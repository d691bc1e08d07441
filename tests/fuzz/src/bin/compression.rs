#![no_main]

ottla_fuzz::program!(ottla_fuzz::compression::TARGET);
