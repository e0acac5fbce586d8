//! Fuzzes `metagov_fuzz::slack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::slack(data));
