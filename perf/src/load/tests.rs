//! Every kind of load against the sink, as the report calls it.
