//! The difference of two texts in unified form, by the longest matching block first: the largest block of equal lines
//! is kept, then the same is done to what lies before and after it. Lines that are very frequent in long texts do not
//! start a block. Kubernetes' answers hold such differences, so the choice of blocks is part of the answer.

use std::collections::HashMap;
use std::ops::Range;

const CONTEXT: usize = 3;

/// A block of equal lines: where in `a`, where in `b`, how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    a: usize,
    b: usize,
    size: usize,
}

/// The hunks from `a` to `b`, each line ended.
pub fn unified(a: &str, b: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split('\n').collect(), b.split('\n').collect());
    let mut out = String::new();
    for group in groups(&operations(&a, &b)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let old = first.old.start..last.old.end;
        let new = first.new.start..last.new.end;
        out.push_str(&format!("@@ -{} +{} @@\n", range(&old), range(&new)));
        for operation in &group {
            let mut lines =
                |sign: char, lines: &[&str]| lines.iter().for_each(|l| out.push_str(&format!("{sign}{l}\n")));
            if operation.equal {
                lines(' ', &a[operation.old.clone()]);
            } else {
                lines('-', &a[operation.old.clone()]);
                lines('+', &b[operation.new.clone()]);
            }
        }
    }
    out
}

fn range(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        n => format!("{},{n}", lines.start + 1),
    }
}

#[derive(Clone, Debug)]
struct Operation {
    equal: bool,
    old: Range<usize>,
    new: Range<usize>,
}

fn operations(a: &[&str], b: &[&str]) -> Vec<Operation> {
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    for block in blocks(a, b) {
        if i < block.a || j < block.b {
            out.push(Operation { equal: false, old: i..block.a, new: j..block.b });
        }
        (i, j) = (block.a + block.size, block.b + block.size);
        if block.size > 0 {
            out.push(Operation { equal: true, old: block.a..i, new: block.b..j });
        }
    }
    out
}

/// Changes that lie close together, each group with a little of what surrounds it.
fn groups(operations: &[Operation]) -> Vec<Vec<Operation>> {
    let mut operations = operations.to_vec();
    if let Some(first) = operations.first_mut().filter(|o| o.equal) {
        first.old.start = first.old.start.max(first.old.end.saturating_sub(CONTEXT));
        first.new.start = first.new.start.max(first.new.end.saturating_sub(CONTEXT));
    }
    if let Some(last) = operations.last_mut().filter(|o| o.equal) {
        last.old.end = last.old.end.min(last.old.start + CONTEXT);
        last.new.end = last.new.end.min(last.new.start + CONTEXT);
    }
    let mut groups = Vec::new();
    let mut group: Vec<Operation> = Vec::new();
    for mut operation in operations {
        if operation.equal && operation.old.len() > 2 * CONTEXT {
            let (old, new) = (operation.old.clone(), operation.new.clone());
            group.push(Operation {
                equal: true,
                old: old.start..old.end.min(old.start + CONTEXT),
                new: new.start..new.end.min(new.start + CONTEXT),
            });
            groups.push(std::mem::take(&mut group));
            operation.old.start = old.end - CONTEXT;
            operation.new.start = new.end - CONTEXT;
        }
        group.push(operation);
    }
    if group.iter().any(|operation| !operation.equal) {
        groups.push(group);
    }
    groups
}

fn blocks(a: &[&str], b: &[&str]) -> Vec<Block> {
    let places = places(b);
    let mut found = Vec::new();
    let mut waiting = vec![(0..a.len(), 0..b.len())];
    while let Some((in_a, in_b)) = waiting.pop() {
        let block = longest(a, b, &places, in_a.clone(), in_b.clone());
        if block.size > 0 {
            waiting.push((in_a.start..block.a, in_b.start..block.b));
            waiting.push((block.a + block.size..in_a.end, block.b + block.size..in_b.end));
            found.push(block);
        }
    }
    found.sort();
    let mut joined: Vec<Block> = Vec::new();
    for block in found {
        match joined.last_mut() {
            Some(last) if last.a + last.size == block.a && last.b + last.size == block.b => last.size += block.size,
            _ => joined.push(block),
        }
    }
    joined.push(Block { a: a.len(), b: b.len(), size: 0 });
    joined
}

/// Where each line of `b` is, without the lines that are everywhere.
fn places<'a>(b: &[&'a str]) -> HashMap<&'a str, Vec<usize>> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (j, line) in b.iter().enumerate() {
        places.entry(line).or_default().push(j);
    }
    if b.len() >= 200 {
        let most = b.len() / 100 + 1;
        places.retain(|_, at| at.len() <= most);
    }
    places
}

fn longest(
    a: &[&str],
    b: &[&str],
    places: &HashMap<&str, Vec<usize>>,
    in_a: Range<usize>,
    in_b: Range<usize>,
) -> Block {
    let mut best = Block { a: in_a.start, b: in_b.start, size: 0 };
    // Length of the match ending at each line of b, for the line of a before this one.
    let mut before: HashMap<usize, usize> = HashMap::new();
    for i in in_a.clone() {
        let mut now = HashMap::new();
        for &j in places.get(a[i]).into_iter().flatten() {
            if j < in_b.start {
                continue;
            }
            if j >= in_b.end {
                break;
            }
            let size = 1 + j.checked_sub(1).and_then(|j| before.get(&j)).copied().unwrap_or(0);
            now.insert(j, size);
            if size > best.size {
                best = Block { a: i + 1 - size, b: j + 1 - size, size };
            }
        }
        before = now;
    }
    while best.a > in_a.start && best.b > in_b.start && a[best.a - 1] == b[best.b - 1] {
        best = Block { a: best.a - 1, b: best.b - 1, size: best.size + 1 };
    }
    while best.a + best.size < in_a.end
        && best.b + best.size < in_b.end
        && a[best.a + best.size] == b[best.b + best.size]
    {
        best.size += 1;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn a_changed_line_stands_between_three_others() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let new = old.replace('5', "five");
        assert_eq!(unified(old, &new), "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    }

    #[test]
    fn equal_texts_have_no_hunks() {
        assert_eq!(unified("a\nb", "a\nb"), "");
    }

    #[test]
    fn far_changes_are_two_hunks() {
        let old: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        let mut new = old.clone();
        new[0] = "x".to_string();
        new[19] = "y".to_string();
        let text = unified(&old.join("\n"), &new.join("\n"));
        assert_eq!(text, "@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+y\n");
    }
}
