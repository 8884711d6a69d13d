#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| edit_fuzz::checks::markers(input));
