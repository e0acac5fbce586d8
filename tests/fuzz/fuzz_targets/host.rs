//! Fuzzes `metagov_fuzz::host`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::host(data));
