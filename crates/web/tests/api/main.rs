//! The doors from outside: over TCP, on a real store and a real engine, with receivers that are told what to answer.

mod access;
mod bad_input;
mod channels;
mod deliveries;
mod documents;
mod harness;
mod operating;
mod races;
mod receiver;
mod rules;
mod runs;
mod seeds;
mod use_cases;
