//! Prometheus' text format 0.0.4, which upstream's servers speak: what the library writes is OpenMetrics, which names counters
//! without their `_total` where it describes them, and ends with a mark.

/// Counters that are older than the rule that their names end in `_total`.
const BARE: [&str; 2] = ["authenticated_user_requests", "authentication_attempts"];

/// The same metrics in the older format.
pub fn of_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut help: Option<(&str, &str)> = None;
    let mut bare = None;
    for line in text.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = Some((name, words));
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" if BARE.contains(&name) => ("", kind),
                "counter" => ("_total", kind),
                "unknown" => ("", "untyped"),
                // A gauge that tells facts in its labels.
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            if let Some((_, words)) = help.take().filter(|(described, _)| *described == name) {
                out += &format!("# HELP {name}{suffix} {words}\n");
            }
            out += &format!("# TYPE {name}{suffix} {kind}\n");
            bare = BARE.contains(&name).then_some(name);
            continue;
        }
        if let Some(name) = bare
            && let Some(labels) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("_total"))
        {
            out += &format!("{name}{labels}\n");
            continue;
        }
        if line != "# EOF" && !line.starts_with("# UNIT ") {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let open = "# HELP a_requests Requests.\n# TYPE a_requests counter\na_requests_total{code=\"200\"} 3\n\
            # HELP b_bytes Size.\n# TYPE b_bytes gauge\n# UNIT b_bytes bytes\nb_bytes 7\n\
            # HELP authentication_attempts Tries.\n# TYPE authentication_attempts counter\n\
            authentication_attempts_total{result=\"success\"} 1\n# EOF\n";
        let text = "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\na_requests_total{code=\"200\"} 3\n\
            # HELP b_bytes Size.\n# TYPE b_bytes gauge\nb_bytes 7\n\
            # HELP authentication_attempts Tries.\n# TYPE authentication_attempts counter\n\
            authentication_attempts{result=\"success\"} 1\n";
        assert_eq!(of_open_metrics(open), text);
    }
}
