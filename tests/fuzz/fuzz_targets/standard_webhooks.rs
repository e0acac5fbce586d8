//! Fuzzes `metagov_fuzz::standard_webhooks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::standard_webhooks(data));
