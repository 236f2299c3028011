//! Columns from text with tabs, by the rules of Go's tabwriter, which all of kubectl's output has.
//!
//! A column is a run of adjacent lines that have a tab-terminated cell at the same place; each run is as wide as its widest
//! cell needs. What follows a line's last tab belongs to no column.

/// Aligns cells with spaces. A column is at least `minimum` wide and leaves at least `padding` spaces.
pub fn align(text: &str, minimum: usize, padding: usize) -> String {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<Vec<&str>> = body.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut writer =
        Writer { lines: &lines, minimum, padding, widths: Vec::new(), out: String::with_capacity(text.len() * 2) };
    writer.format(0, lines.len());
    if !text.ends_with('\n') {
        writer.out.pop();
    }
    writer.out
}

struct Writer<'t> {
    lines: &'t [Vec<&'t str>],
    minimum: usize,
    padding: usize,
    widths: Vec<usize>,
    out: String,
}

impl Writer<'_> {
    fn format(&mut self, mut first: usize, end: usize) {
        let column = self.widths.len();
        let mut line = first;
        while line < end {
            if column + 1 >= self.lines[line].len() {
                line += 1;
                continue;
            }
            self.write(first, line);
            first = line;
            let mut width = self.minimum;
            while line < end && column + 1 < self.lines[line].len() {
                width = width.max(self.lines[line][column].chars().count() + self.padding);
                line += 1;
            }
            self.widths.push(width);
            self.format(first, line);
            self.widths.pop();
            first = line;
        }
        self.write(first, end);
    }

    fn write(&mut self, first: usize, end: usize) {
        for cells in &self.lines[first..end] {
            for (index, cell) in cells.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(width) = self.widths.get(index) {
                    let missing = width.saturating_sub(cell.chars().count());
                    self.out.extend(std::iter::repeat_n(' ', missing));
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns_are_runs_of_adjacent_lines() {
        assert_eq!(align("NAME\tREADY\na-long-name\t1/1\n", 6, 3), "NAME          READY\na-long-name   1/1\n");
        assert_eq!(align("Name:\tx\nLabels:\ta=b\n\tc=d\n", 0, 2), "Name:    x\nLabels:  a=b\n         c=d\n");
        assert_eq!(align("a\tb\n\nlonger\tb\n", 0, 2), "a  b\n\nlonger  b\n");
        assert_eq!(align("a\tb", 6, 3), "a     b");
    }
}
