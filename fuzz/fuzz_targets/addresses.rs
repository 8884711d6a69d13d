#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| edit_fuzz::secrets::check_address(input));
