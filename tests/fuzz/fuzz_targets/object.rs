//! Fuzzes `metagov_fuzz::object`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::object(data));
