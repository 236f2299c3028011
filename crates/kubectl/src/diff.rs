//! The difference of two texts, line by line, as `diff -u` writes it.

/// Lines shown around a change.
const CONTEXT: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    Gone,
    New,
}

/// Empty where the texts are equal.
pub fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = changes(&old, &new);
    let mut out = String::new();
    let mut from = 0;
    while let Some(first) = (from..lines.len()).find(|at| lines[*at].0 != Change::Same) {
        // A hunk goes on while the next change is so near that what is shown around both would touch.
        let mut last = first;
        while let Some(next) =
            (last + 1..lines.len().min(last + 2 + 2 * CONTEXT)).find(|at| lines[*at].0 != Change::Same)
        {
            last = next;
        }
        let (start, end) = (first.saturating_sub(CONTEXT).max(from), (last + 1 + CONTEXT).min(lines.len()));
        if out.is_empty() {
            out.push_str(&format!("--- {old_name}\n+++ {new_name}\n"));
        }
        let count = |range: &[(Change, &str)], not: Change| range.iter().filter(|(change, _)| *change != not).count();
        let place = |not: Change| {
            let (before, length) = (count(&lines[..start], not), count(&lines[start..end], not));
            // An empty side stands behind the line before it.
            format!("{},{length}", if length == 0 { before } else { before + 1 })
        };
        out.push_str(&format!("@@ -{} +{} @@\n", place(Change::New), place(Change::Gone)));
        for (change, line) in &lines[start..end] {
            let sign = match change {
                Change::Same => ' ',
                Change::Gone => '-',
                Change::New => '+',
            };
            out.push_str(&format!("{sign}{line}\n"));
        }
        from = end;
    }
    out
}

/// The lines of both, by their longest common subsequence; equal beginnings and ends are set aside first.
fn changes<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(Change, &'t str)> {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(old, new)| old == new).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    // lengths[i][j]: of the longest common subsequence of a[i..] and b[j..].
    let width = b.len() + 1;
    let mut lengths = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i * width + j] = if a[i] == b[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let mut lines: Vec<_> = old[..head].iter().map(|line| (Change::Same, *line)).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push((Change::Same, a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) {
            lines.push((Change::Gone, a[i]));
            i += 1;
        } else {
            lines.push((Change::New, b[j]));
            j += 1;
        }
    }
    lines.extend(old[old.len() - tail..].iter().map(|line| (Change::Same, *line)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_written_as_diff_writes_them() {
        let text = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let old = text(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"]);
        let new = text(&["a", "B", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "n", "o"]);
        assert_eq!(
            unified(&old, &new, "old", "new"),
            "--- old\n+++ new\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -10,5 +10,5 @@\n j\n k\n l\n-m\n n\n+o\n"
        );
        assert_eq!(unified(&old, &old, "old", "new"), "");
        assert_eq!(unified("", "a\n", "old", "new"), "--- old\n+++ new\n@@ -0,0 +1,1 @@\n+a\n");
        // Two changes with few lines between are one hunk.
        let near = text(&["A", "b", "c", "d", "e", "f", "g", "H", "i", "j", "k", "l", "m", "n"]);
        assert_eq!(unified(&old, &near, "old", "new").matches("@@ -").count(), 1);
    }
}
