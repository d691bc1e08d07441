//! Clients that mean harm: the golden frames with bytes of them changed, sent to the real broker on many connections, some of which
//! never finish a frame, and what must hold meanwhile and afterwards.

mod abuse;
mod bystander;
mod connections;
mod frames;
mod limits;
mod strangers;
