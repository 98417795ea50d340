//! Numbers of several runs, and tables of them.

/// One line of a table: what, the number and the goal.
pub struct Row {
    what: String,
    measured: String,
    goal: String,
    met: &'static str,
}

/// Milliseconds of several runs.
pub struct Sample(Vec<f64>);

// === impl Row ===

impl Row {
    /// A number with the words that go with it.
    pub fn new(what: &str, measured: impl Into<String>, goal: impl Into<String>, met: bool) -> Self {
        let met = if met { "yes" } else { "no" };
        Self { what: what.to_owned(), measured: measured.into(), goal: goal.into(), met }
    }

    /// A number without a goal.
    pub fn beside(what: &str, measured: impl Into<String>) -> Self {
        Self { what: what.to_owned(), measured: measured.into(), goal: "-".to_owned(), met: "-" }
    }

    /// A count that shall be at most `goal`.
    pub fn count(what: &str, number: usize, goal: usize) -> Self {
        let words = if goal == 0 { "0".to_owned() } else { format!("≤ {goal}") };
        Self::new(what, number.to_string(), words, number <= goal)
    }
}

// === impl Sample ===

impl Sample {
    /// At least one number.
    pub fn new(mut numbers: Vec<f64>) -> Self {
        assert!(!numbers.is_empty(), "nothing was measured");
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.0[0]
    }

    /// The largest, which of ten runs is also the 99th percentile.
    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// Half are below it.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[middle] } else { f64::midpoint(self.0[middle - 1], self.0[middle]) }
    }
}

/// A heading and a table below it.
pub fn table(title: &str, rows: &[Row]) -> String {
    let mut text = format!("### {title}\n\n| what | measured | goal | met |\n| --- | ---: | ---: | --- |\n");
    for Row { what, measured, goal, met } in rows {
        text.push_str(&format!("| {what} | {measured} | {goal} | {met} |\n"));
    }
    text
}
