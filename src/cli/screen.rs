//! A block of text on a terminal that is drawn again in its place.

use std::fmt::Write as _;

/// Rows of a terminal that does not say how many it has: those of the first ones.
const ROWS_DEFAULT: usize = 24;

/// Rows of the terminal, where there is one.
pub fn rows() -> Option<usize> {
    terminal_size::terminal_size().map(|(_, height)| usize::from(height.0))
}

/// What was drawn last.
#[derive(Debug, Default)]
pub struct Screen {
    lines: usize,
}

// === impl Screen ===

impl Screen {
    /// What to write so that `text` stands where the last text did. A text that is higher than the terminal is cut, so
    /// that the cursor finds back; a longer line than the terminal is wide ends at its edge.
    pub fn draw(&mut self, text: &str, rows: Option<usize>) -> String {
        // The cursor rests on the line below.
        let lines_max = rows.unwrap_or(ROWS_DEFAULT).saturating_sub(1).max(1);
        let mut drawn = String::from("\x1b[?7l");
        drawn.push_str(&self.clear());
        for line in text.lines().take(lines_max) {
            // Writing to a String cannot fail.
            let _ = writeln!(drawn, "{line}");
            self.lines += 1;
        }
        drawn.push_str("\x1b[?7h");
        drawn
    }

    /// What to write so that the last text is gone.
    pub fn clear(&mut self) -> String {
        let up = std::mem::take(&mut self.lines);
        if up == 0 { String::new() } else { format!("\x1b[{up}A\r\x1b[J") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_drawn_in_the_place_of_the_last() {
        let mut screen = Screen::default();
        assert_eq!(screen.draw("a\nb\n", Some(24)), "\x1b[?7la\nb\n\x1b[?7h");
        assert_eq!(screen.draw("c\n", Some(24)), "\x1b[?7l\x1b[2A\r\x1b[Jc\n\x1b[?7h");
        assert_eq!(screen.clear(), "\x1b[1A\r\x1b[J");
        assert_eq!(screen.clear(), "", "nothing is left to clear");
    }

    #[test]
    fn what_is_higher_than_the_terminal_is_cut_so_that_the_cursor_finds_back() {
        let mut screen = Screen::default();
        assert_eq!(screen.draw("a\nb\nc\nd\n", Some(3)), "\x1b[?7la\nb\n\x1b[?7h");
        assert_eq!(screen.clear(), "\x1b[2A\r\x1b[J");
    }
}
