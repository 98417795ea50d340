//! The generated part of the page.

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/performance.md");
const BEGIN: &str = "<!-- bench-registry:begin -->\n";
const END: &str = "<!-- bench-registry:end -->";

/// Puts `text` between the markers of the page.
pub fn write(text: &str) {
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the marker that begins the numbers");
    let (_, after) = rest.split_once(END).expect("the page has the marker that ends the numbers");
    std::fs::write(PAGE, format!("{before}{BEGIN}{text}{END}{after}")).expect("the page can be written");
}
