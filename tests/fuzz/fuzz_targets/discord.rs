//! Fuzzes `metagov_fuzz::discord`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::discord(data));
