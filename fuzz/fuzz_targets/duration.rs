#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Err(broken) = tidegate::fuzz::check("duration", data) {
        panic!("{broken}");
    }
});
