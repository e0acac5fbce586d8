//! Fuzzes `metagov_fuzz::bearer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::bearer(data));
