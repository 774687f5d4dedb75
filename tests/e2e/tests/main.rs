//! End to end: what the programs are made of and the programs themselves, against servers on real
//! sockets. One binary, so it links once.

mod conjur_client;
