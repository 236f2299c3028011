use super::*;

#[test]
fn names_that_are_valid() {
    type Check = fn(&str) -> Vec<String>;
    let cases: &[(Check, &[&str])] = &[
        (is_dns1123_label, &["a", "0", "a-b", "123-abc"]),
        (is_dns1123_subdomain, &["a", "a.b-c.0", "example.com"]),
        (is_dns1035_label, &["a", "a-0"]),
        (is_wildcard_dns1123_subdomain, &["*.example.com"]),
        (qualified_name, &["a", "MyName", "my.name_x-Y", "example.com/MyName"]),
        (label_value, &["", "a", "My_value.1"]),
        (path_segment_name, &["system:x", "a b", "..."]),
        (port_name, &["http", "a-1"]),
        (env_var_name, &["A", "a.b-c", "with space"]),
        (env_var_name_strict, &["A", "a.b-c"]),
        (c_identifier, &["_a1"]),
        (config_map_key, &["a", ".a", "-._"]),
        (http_header_name, &["X-A"]),
        (http_path, &["/a/%2f"]),
        (percent, &["0%", "100%"]),
        (ip, &["10.9.8.7", "2001:db8::ffff"]),
        (ip_legacy, &["010.001.000.1", "::ffff:01.2.3.4"]),
        (cidr, &["10.9.8.0/24", "2001:db8::/64", "0.0.0.0/0", "::/0", "1.2.3.4/32"]),
        (cidr_legacy, &["10.9.8.1/24", "010.0.0.0/08"]),
    ];
    for (check, values) in cases {
        for value in *values {
            assert_eq!(check(value), Vec::<String>::new(), "{value}");
        }
    }
}

#[test]
fn messages_are_upstreams() {
    let subdomain = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let name_part = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let cases: &[(Vec<String>, &[&str])] = &[
        (is_dns1123_label("a.b"), &["must not contain dots"]),
        (
            is_dns1123_label("A_b"),
            &[
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (is_dns1123_subdomain(""), &[subdomain]),
        (is_dns1123_subdomain(&"a".repeat(254)), &["must be no more than 253 characters"]),
        (
            is_dns1035_label("0a"),
            &[
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (qualified_name(""), &["name part must be non-empty", name_part]),
        (qualified_name("-k"), &[name_part]),
        (qualified_name("/k"), &["prefix part must be non-empty"]),
        (qualified_name("UP.com/k"), &[&format!("prefix part {subdomain}")]),
        (qualified_name(&"k".repeat(64)), &["name part must be no more than 63 bytes"]),
        (
            qualified_name("a/b/c"),
            &[
                "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            ],
        ),
        (label_value(&"v".repeat(64)), &["must be no more than 63 bytes"]),
        (
            label_value("a-"),
            &[
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ],
        ),
        (path_segment_name(".."), &["may not be '..'"]),
        (path_segment_name("a/%"), &["may not contain '/'", "may not contain '%'"]),
        (
            port_name("TOOLONGNAME-ABCDEFG"),
            &[
                "must be no more than 15 characters",
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "must contain at least one letter (a-z)",
            ],
        ),
        (
            env_var_name("a=b"),
            &["a valid environment variable name must consist only of printable ASCII characters other than '='"],
        ),
        (config_map_key(".."), &["must not be '..'"]),
        (config_map_key("..x"), &["must not start with '..'"]),
        (
            config_map_key("a b"),
            &[
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ],
        ),
        (ip("192.168.99.300"), &["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]),
        (ip("010.0.0.1"), &["must not have leading 0s"]),
        (ip("::ffff:1.2.3.4"), &["must not be an IPv4-mapped IPv6 address"]),
        (cidr("10.0.0.0"), &["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
        (cidr("1.2.3.4/8"), &["must not have bits set beyond the prefix length"]),
        (cidr("1.2.3.4/032"), &["must not have leading 0s in IP or prefix length"]),
        (port_number(0), &["must be between 1 and 65535, inclusive"]),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
}

#[test]
fn domains_are_checked_as_fields() {
    let path = Path::new("spec.x");
    let texts = |errors: ErrorList| errors.iter().map(Error::to_string).collect::<Vec<_>>();
    assert_eq!(texts(domain_prefixed_path(&path, "acme.io/foo")), Vec::<String>::new());
    assert_eq!(
        texts(domain_prefixed_path(&path, "foo")),
        ["spec.x: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")"]
    );
    assert_eq!(
        texts(domain_prefixed_path(&path, "a.b/c d")),
        [
            r#"spec.x: Invalid value: "c d": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"#
        ]
    );
    assert_eq!(
        texts(fully_qualified_domain_name(&path, "local")),
        ["spec.x: Invalid value: \"local\": should be a domain with at least two segments separated by dots"]
    );
    assert!(fully_qualified_domain_name(&path, "a.b.").is_empty());
}
