//! Fuzzes `metagov_fuzz::page_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::page_token(data));
