//! The libraries, function by function.

use std::sync::Mutex;

use super::{check, eval, eval_in};
use crate::{Activation, Authorizer, CheckTarget, Decision, Env, ResourceCheck, Subject, Type, Value};

#[test]
fn strings() {
    check(&[
        ("'tacocat'.charAt(3)", r#""o""#),
        ("'tacocat'.charAt(7)", r#""""#),
        ("'tacocat'.charAt(8)", "error: index out of range: 8"),
        ("'©αT'.charAt(1)", r#""α""#),
        ("'tacocat'.indexOf('')", "0"),
        ("'tacocat'.indexOf('ac')", "1"),
        ("'tacocat'.indexOf('none')", "-1"),
        ("'tacocat'.indexOf('a', 3)", "5"),
        ("'tacocat'.indexOf('', 3)", "3"),
        ("'ta©o©αT'.indexOf('©')", "2"),
        ("'ta©o©αT'.indexOf('©', 3)", "4"),
        ("'ta©o©αT'.indexOf('©α', 3)", "4"),
        ("'tacocat'.indexOf('a', -1)", "error: index out of range: -1"),
        ("'tacocat'.lastIndexOf('at')", "5"),
        ("'tacocat'.lastIndexOf('none')", "-1"),
        ("'tacocat'.lastIndexOf('')", "7"),
        ("'tacocat'.lastIndexOf('a', 3)", "1"),
        ("'ta©o©αT'.lastIndexOf('©', 3)", "2"),
        ("'ta©o©αT'.lastIndexOf('©', 4)", "4"),
        ("'tacocat'.lastIndexOf('a', -1)", "error: index out of range: -1"),
        ("'ABC Ä'.lowerAscii()", r#""abc Ä""#),
        ("'abc ä'.upperAscii()", r#""ABC ä""#),
        ("'hello hello'.replace('he', 'we')", r#""wello wello""#),
        ("'hello hello'.replace('he', 'we', 1)", r#""wello hello""#),
        ("'hello hello'.replace('he', 'we', 0)", r#""hello hello""#),
        ("'hello hello'.replace('', '_')", r#""_h_e_l_l_o_ _h_e_l_l_o_""#),
        ("'hello hello'.replace('h', '')", r#""ello ello""#),
        ("'hello hello hello'.split(' ')", r#"["hello", "hello", "hello"]"#),
        ("'hello hello hello'.split(' ', 0)", "[]"),
        ("'hello hello hello'.split(' ', 1)", r#"["hello hello hello"]"#),
        ("'hello hello hello'.split(' ', 2)", r#"["hello", "hello hello"]"#),
        ("'hello hello hello'.split(' ', -1)", r#"["hello", "hello", "hello"]"#),
        ("'aä'.split('')", r#"["a", "ä"]"#),
        ("''.split(',')", r#"[""]"#),
        ("'tacocat'.substring(4)", r#""cat""#),
        ("'tacocat'.substring(0, 4)", r#""taco""#),
        ("'ta©o©αT'.substring(2, 6)", r#""©o©α""#),
        ("'tacocat'.substring(7)", r#""""#),
        ("'tacocat'.substring(40)", "error: index out of range: 40"),
        ("'tacocat'.substring(-1)", "error: index out of range: -1"),
        ("'tacocat'.substring(5, 4)", "error: invalid substring range. start: 5, end: 4"),
        ("'  \\ttrim\\n '.trim()", r#""trim""#),
        ("'\\u00a0\\u2003x\\u3000'.trim()", r#""x""#),
        ("'\\u200bx'.trim()", r#""\u{200b}x""#),
        ("['x', 'y'].join()", r#""xy""#),
        ("['x', 'y'].join('-')", r#""x-y""#),
        ("[].join('-')", r#""""#),
        ("dyn([1]).join('-')", "error: join: invalid input: 1"),
        (r#"strings.quote('a "quoted"\n\\ word')"#, r#""\"a \\\"quoted\\\"\\n\\\\ word\"""#),
        ("'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')", "true"),
        ("'hello'.contains('') && 'hello'.startsWith('') && 'hello'.endsWith('')", "true"),
        ("'hello'.contains('x') || 'hello'.startsWith('lo') || 'hello'.endsWith('he')", "false"),
    ]);
}

#[test]
fn formatting() {
    check(&[
        ("'no clauses'.format([])", r#""no clauses""#),
        ("'%s and %s'.format(['a', 'b'])", r#""a and b""#),
        (
            "'%s %s'.format([1.5, true])",
            "ERROR: <input>:1:22: expected type 'double' but found 'bool'\n | '%s %s'.format([1.5, true])\n | .....................^",
        ),
        ("'%s'.format([1])", r#""1""#),
        ("'%s %s'.format([dyn(1.5), dyn(true)])", r#""1.5 true""#),
        ("'%s'.format([null])", r#""null""#),
        ("'%s'.format([b'ab'])", r#""ab""#),
        ("'%s'.format([[1, 2]])", r#""[1, 2]""#),
        ("'%s'.format([{'b': 1, 'a': 2}])", r#""{\"a\":2, \"b\":1}""#),
        ("'%s'.format([int])", r#""int""#),
        ("'%s'.format([duration('1h45s')])", r#""3645s""#),
        ("'%s'.format([timestamp('2023-02-03T23:31:20Z')])", r#""2023-02-03T23:31:20Z""#),
        ("'%d %d'.format([dyn(42), dyn(7u)])", r#""42 7""#),
        ("'%d'.format([-42])", r#""-42""#),
        ("'%x %X'.format([255, 255])", r#""ff FF""#),
        ("'%x'.format(['Hello'])", r#""48656c6c6f""#),
        ("'%x'.format([b'\\x00\\xff'])", r#""00ff""#),
        ("'%x'.format([-30])", r#""-1e""#),
        ("'%o'.format([11])", r#""13""#),
        ("'%b %b'.format([dyn(5), dyn(true)])", r#""101 1""#),
        ("'%b'.format([-5])", r#""-101""#),
        ("'%f'.format([2.71828])", r#""2.718280""#),
        ("'%.3f'.format([1.2345])", r#""1.234""#),
        ("'%.0f'.format([2.5])", r#""2""#),
        ("'100%%'.format([])", r#""100%""#),
        ("'%s'.format([])", "error: index 0 out of range"),
        ("'%'.format([1])", "error: unexpected end of string"),
        ("'%q'.format(['a'])", r#"error: could not parse formatting clause: unrecognized formatting clause "q""#),
        (
            "'%d'.format(['a'])",
            "error: error during formatting: decimal clause can only be used on integers, was given string",
        ),
        (
            "'%o'.format([1.5])",
            "error: error during formatting: octal clause can only be used on integers, was given double",
        ),
    ]);
}

#[test]
fn lists() {
    check(&[
        ("[1, 2, 3].isSorted()", "true"),
        ("['a', 'c', 'b'].isSorted()", "false"),
        ("[1.0, 1.0].isSorted()", "true"),
        ("[2, 3, 1].sum()", "6"),
        ("[1u, 2u].sum()", "3u"),
        ("[1.5, 2.0].sum()", "3.5"),
        ("[duration('1m'), duration('1s')].sum()", "61s"),
        ("[9223372036854775807, 1].sum()", "error: integer overflow"),
        ("[1, 3, 2].max()", "3"),
        ("[1, 3, 2].min()", "1"),
        ("['b', 'a'].min()", r#""a""#),
        ("[false, true].max()", "true"),
        ("[timestamp(5), timestamp(3)].min()", "1970-01-01T00:00:03Z"),
        ("[1].filter(x, x > 1).max()", "error: max called on empty list"),
        ("[1].filter(x, x > 1).min()", "error: min called on empty list"),
        ("[1].filter(x, x > 1).sum()", "0"),
        ("['a', 'b', 'b', 'c'].indexOf('b')", "1"),
        ("['a', 'b', 'b', 'c'].lastIndexOf('b')", "2"),
        ("['a'].indexOf('x')", "-1"),
        ("['a'].lastIndexOf('x')", "-1"),
        ("[1, 2, 3, 4].slice(1, 3)", "[2, 3]"),
        ("[1, 2, 3, 4].slice(0, 4)", "[1, 2, 3, 4]"),
        ("[1, 2, 3, 4].slice(2, 2)", "[]"),
        ("[1, 2].slice(2, 1)", "error: cannot slice(2, 1), start index must be less than or equal to end index"),
        ("[1, 2].slice(-1, 1)", "error: cannot slice(-1, 1), negative indexes not supported"),
        ("[1, 2].slice(0, 3)", "error: cannot slice(0, 3), list is length 2"),
        ("[[1, 2], [3]].flatten()", "[1, 2, 3]"),
        (
            "dyn([[1, [2]], [[3]]]).flatten()",
            "ERROR: <input>:1:10: expected type 'int' but found 'list(int)'\n | dyn([[1, [2]], [[3]]]).flatten()\n | .........^",
        ),
        ("[[[1]], [[2]]].flatten(2)", "[1, 2]"),
        ("[[[1]], [[2]]].flatten(1)", "[[1], [2]]"),
        ("[[1]].flatten(-1)", "error: level must be non-negative"),
        ("[3, 1, 2].sort()", "[1, 2, 3]"),
        ("['b', 'a'].sort()", r#"["a", "b"]"#),
        ("[{'n': 2}, {'n': 1}].sortBy(e, e.n)", r#"[{"n": 1}, {"n": 2}]"#),
        ("lists.range(4)", "[0, 1, 2, 3]"),
        ("lists.range(0)", "[]"),
        ("[1, 2, 3].reverse()", "[3, 2, 1]"),
        ("[1, 2, 1, 3, 2].distinct()", "[1, 2, 3]"),
        ("[dyn(1), dyn(1.0), dyn(2u)].distinct()", "[1, 2u]"),
        ("[1, 2, 3].first().value() + [1, 2, 3].last().value()", "4"),
    ]);
}

#[test]
fn sets() {
    check(&[
        ("sets.contains([1, 2, 3], [2, 3])", "true"),
        ("sets.contains([1], [])", "true"),
        ("sets.contains([1], [1, 2])", "false"),
        ("sets.contains([1, 2], [dyn(1.0)])", "true"),
        ("sets.equivalent([1, 2], [2, 1, 1])", "true"),
        ("sets.equivalent([1, 2], [1])", "false"),
        ("sets.equivalent([], [])", "true"),
        ("sets.intersects([1, 2], [2, 3])", "true"),
        ("sets.intersects([1], [])", "false"),
        ("sets.intersects([[1], [2]], [[2]])", "true"),
    ]);
}

#[test]
fn regular_expressions() {
    check(&[
        ("'abc 123'.find('[0-9]+')", r#""123""#),
        ("'abc'.find('[0-9]+')", r#""""#),
        ("'123 abc 456'.findAll('[0-9]+')", r#"["123", "456"]"#),
        ("'123 abc 456'.findAll('[0-9]+', 1)", r#"["123"]"#),
        ("'123 abc 456'.findAll('[0-9]+', 0)", "[]"),
        ("'123 abc 456'.findAll('[0-9]+', -1)", r#"["123", "456"]"#),
        ("'abc'.findAll('x')", "[]"),
        ("'abc'.matches('^[a-c]+$')", "true"),
        ("'xabcx'.matches('abc')", "true"),
        ("matches('abc', 'B')", "false"),
        ("'abc'.matches('(?i)B')", "true"),
        ("'äöü'.matches('^.{3}$')", "true"),
        ("'٣'.matches('\\\\d')", "false"),
        ("'ä'.matches('\\\\w')", "false"),
        ("'a.b'.matches('^\\\\Qa.b\\\\E$')", "true"),
        ("'axb'.matches('^\\\\Qa.b\\\\E$')", "false"),
        ("'Δ'.matches('\\\\p{Greek}')", "true"),
        ("'a\\nb'.matches('a.b')", "false"),
        ("'a\\nb'.matches('(?s)a.b')", "true"),
        ("'a\\nb'.matches('(?m)^b$')", "true"),
        ("'a]'.matches('[]]')", "true"),
        ("'a&&b'.matches('^[a&&b]+$')", "true"),
        ("'aaa'.matches('a{2,3}')", "true"),
        ("'x' + 'y' == 'xy' && 'ab'.matches('(' + 'a)b')", "true"),
        ("'ab'.matches(dyn('(')  + 'a')", "error: error parsing regexp: missing closing ): `(a`"),
    ]);
}

#[test]
fn urls() {
    check(&[
        ("url('https://user:pass@example.com:80/path?a=1&b=2&b=3#f').getScheme()", r#""https""#),
        ("url('https://example.com:80/').getHost()", r#""example.com:80""#),
        ("url('https://example.com/').getHost()", r#""example.com""#),
        ("url('https://[::1]:80/').getHost()", r#""[::1]:80""#),
        ("url('https://example.com:80/').getHostname()", r#""example.com""#),
        ("url('https://[::1]:80/').getHostname()", r#""::1""#),
        ("url('https://example.com:80/').getPort()", r#""80""#),
        ("url('https://example.com/').getPort()", r#""""#),
        ("url('https://example.com/path').getEscapedPath()", r#""/path""#),
        ("url('https://example.com/with space').getEscapedPath()", r#""/with%20space""#),
        ("url('https://example.com').getEscapedPath()", r#""""#),
        ("url('https://example.com/?k=a&k=b').getQuery()", r#"{"k": ["a", "b"]}"#),
        ("url('https://example.com/?k=a%20b+c').getQuery()", r#"{"k": ["a b c"]}"#),
        ("url('https://example.com/').getQuery()", "{}"),
        ("url('/absolute/path').getEscapedPath()", r#""/absolute/path""#),
        ("url('/absolute/path').getHost()", r#""""#),
        ("isURL('https://a:b/')", "false"),
        ("isURL('https://a:80/')", "true"),
        ("isURL('/absolute')", "true"),
        ("isURL('../relative')", "false"),
        ("isURL('')", "false"),
        ("url('https://a/') == url('https://a/')", "true"),
        ("url('https://a/') == url('https://b/')", "false"),
    ]);
}

#[test]
fn addresses() {
    check(&[
        ("ip('192.168.0.1')", "192.168.0.1"),
        ("ip('2001:DB8:0::1')", "2001:db8::1"),
        ("ip('127.0.0.1').family()", "4"),
        ("ip('::1').family()", "6"),
        ("isIP('127.0.0.1')", "true"),
        ("isIP('127.0.0.1.0')", "false"),
        ("isIP('127.000.0.1')", "false"),
        ("isIP('::1')", "true"),
        ("isIP('fe80::1%eth0')", "false"),
        ("isIP('::ffff:10.0.0.1')", "false"),
        ("isIP('')", "false"),
        ("ip.isCanonical('127.0.0.1')", "true"),
        ("ip.isCanonical('2001:db8::abcd')", "true"),
        ("ip.isCanonical('2001:DB8::ABCD')", "false"),
        ("ip.isCanonical('2001:db8:0:0:0:0:0:1')", "false"),
        ("ip('0.0.0.0').isUnspecified()", "true"),
        ("ip('127.0.0.1').isUnspecified()", "false"),
        ("ip('127.8.8.8').isLoopback()", "true"),
        ("ip('::1').isLoopback()", "true"),
        ("ip('224.0.0.1').isLinkLocalMulticast()", "true"),
        ("ip('224.0.1.1').isLinkLocalMulticast()", "false"),
        ("ip('ff02::1').isLinkLocalMulticast()", "true"),
        ("ip('169.254.169.254').isLinkLocalUnicast()", "true"),
        ("ip('fe80::1').isLinkLocalUnicast()", "true"),
        ("ip('192.168.0.1').isGlobalUnicast()", "true"),
        ("ip('255.255.255.255').isGlobalUnicast()", "false"),
        ("ip('2001:db8::abcd').isGlobalUnicast()", "true"),
        ("ip('ff00::1').isGlobalUnicast()", "false"),
        ("ip('127.0.0.1') == ip('127.0.0.1')", "true"),
        ("ip('127.0.0.1') == ip('10.0.0.1')", "false"),
        ("string(ip('192.168.0.1'))", r#""192.168.0.1""#),
        ("type(ip('192.168.0.1')) == net.IP", "true"),
        ("ip('::ffff:10.0.0.1')", r#"error: IPv4-mapped IPv6 address "::ffff:10.0.0.1" is not allowed"#),
        ("ip('fe80::1%1')", r#"error: IP address "fe80::1%1" with zone value is not allowed"#),
    ]);
}

#[test]
fn networks() {
    check(&[
        ("cidr('192.168.0.0/24')", "192.168.0.0/24"),
        ("isCIDR('192.168.0.0/24')", "true"),
        ("isCIDR('192.168.0.0/33')", "false"),
        ("isCIDR('192.168.0.0')", "false"),
        ("isCIDR('::/0')", "true"),
        ("isCIDR('::/-1')", "false"),
        ("isCIDR('10.0.0.0/08')", "false"),
        ("cidr('192.168.0.0/24').containsIP(ip('192.168.0.1'))", "true"),
        ("cidr('192.168.0.0/24').containsIP('192.168.1.1')", "false"),
        ("cidr('0.0.0.0/0').containsIP('8.8.8.8')", "true"),
        ("cidr('0.0.0.0/0').containsIP('::1')", "false"),
        ("cidr('2001:db8::/32').containsIP('2001:db8::1')", "true"),
        ("cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24'))", "true"),
        ("cidr('192.168.0.0/24').containsCIDR('192.168.0.0/16')", "false"),
        ("cidr('192.168.0.0/24').containsCIDR('192.168.0.0/24')", "true"),
        ("cidr('192.168.1.1/24').ip()", "192.168.1.1"),
        ("cidr('192.168.1.1/24').masked()", "192.168.1.0/24"),
        ("cidr('192.168.0.0/24').masked() == cidr('192.168.0.0/24')", "true"),
        ("cidr('192.168.0.0/24').prefixLength()", "24"),
        ("cidr('::/0').prefixLength()", "0"),
        ("string(cidr('10.0.0.0/8'))", r#""10.0.0.0/8""#),
        ("type(cidr('10.0.0.0/8')) == net.CIDR", "true"),
    ]);
}

#[test]
fn quantities() {
    check(&[
        ("isQuantity('1.3Gi')", "true"),
        ("isQuantity('20Mi')", "true"),
        ("isQuantity('1e3')", "true"),
        ("isQuantity('1,3G')", "false"),
        ("isQuantity('10000k')", "true"),
        ("isQuantity('Three')", "false"),
        ("isQuantity('')", "false"),
        ("quantity('50Mi').isGreaterThan(quantity('50M'))", "true"),
        ("quantity('50M').isLessThan(quantity('50Mi'))", "true"),
        ("quantity('200M') == quantity('0.2G')", "true"),
        ("quantity('2').compareTo(quantity('2000m'))", "0"),
        ("quantity('1').compareTo(quantity('2'))", "-1"),
        ("quantity('3').compareTo(quantity('2'))", "1"),
        ("quantity('50k').add(quantity('20')) == quantity('50020')", "true"),
        ("quantity('50k').add(20)", "50020"),
        ("quantity('50k').sub(20000)", "30k"),
        ("quantity('50k').sub(quantity('20')).asInteger()", "49980"),
        ("quantity('50703m').isInteger()", "false"),
        ("quantity('50k').isInteger()", "true"),
        ("quantity('9999999999999999999999999999999999999G').isInteger()", "false"),
        ("quantity('50.703k').asApproximateFloat()", "50703.0"),
        ("sign(quantity('10k'))", "1"),
        ("sign(quantity('0'))", "0"),
        ("sign(quantity('-10k'))", "-1"),
        ("quantity('1500m').asInteger()", "error: cannot convert value to integer"),
        ("type(quantity('1')) == kubernetes.Quantity", "true"),
        (
            "quantity('ten')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ]);
}

#[test]
fn versions() {
    check(&[
        ("isSemver('1.2.3')", "true"),
        ("isSemver('1.2.3-alpha.1+build.5')", "true"),
        ("isSemver('v1.0')", "false"),
        ("isSemver('1.0')", "false"),
        ("isSemver('01.0.0')", "false"),
        ("isSemver('1.0.0-01')", "false"),
        ("isSemver('hello')", "false"),
        ("isSemver('v1.0', true)", "true"),
        ("isSemver('01.02.03', true)", "true"),
        ("isSemver('v1.0', false)", "false"),
        ("semver('v01.01', true).compareTo(semver('1.1.0'))", "0"),
        ("semver('1.2.3').major()", "1"),
        ("semver('1.2.3').minor()", "2"),
        ("semver('1.2.3').patch()", "3"),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", "true"),
        ("semver('1.2.3').isGreaterThan(semver('1.2.3-rc1'))", "true"),
        ("semver('1.0.0-alpha.2').isLessThan(semver('1.0.0-alpha.10'))", "true"),
        ("semver('1.0.0-alpha').compareTo(semver('1.0.0-alpha.1'))", "-1"),
        ("semver('1.0.0-1').compareTo(semver('1.0.0-a'))", "-1"),
        ("semver('1.2.3+a') == semver('1.2.3+b')", "true"),
        ("semver('1.2')", "error: No Major.Minor.Patch elements found"),
        ("semver('')", "error: Version string empty"),
        ("semver('a.2.3')", r#"error: Invalid character(s) found in major number "a""#),
        ("type(semver('1.2.3')) == kubernetes.Semver", "true"),
    ]);
}

#[test]
fn formats() {
    check(&[
        ("format.dns1123Label().validate('my-label')", "none"),
        ("format.dns1123Label().validate('contains a space').hasValue()", "true"),
        (
            "format.dns1123Label().validate('-')",
            "some([\"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\"])",
        ),
        ("format.dns1123Subdomain().validate('a.b-c')", "none"),
        ("format.dns1123Subdomain().validate('a..b').hasValue()", "true"),
        ("format.dns1035Label().validate('abc')", "none"),
        ("format.dns1035Label().validate('1abc').hasValue()", "true"),
        ("format.dns1123LabelPrefix().validate('abc-')", "none"),
        ("format.dns1123SubdomainPrefix().validate('a.b-')", "none"),
        ("format.dns1035LabelPrefix().validate('abc-')", "none"),
        ("format.qualifiedName().validate('example.com/name')", "none"),
        ("format.qualifiedName().validate('a/b/c').hasValue()", "true"),
        ("format.labelValue().validate('Abc_1')", "none"),
        ("format.labelValue().validate('')", "none"),
        ("format.labelValue().validate('-a').hasValue()", "true"),
        ("format.uri().validate('https://example.com')", "none"),
        ("format.uri().validate('a b').hasValue()", "true"),
        ("format.uuid().validate('123e4567-e89b-12d3-a456-426614174000')", "none"),
        ("format.uuid().validate('not')", r#"some(["does not match the UUID format"])"#),
        ("format.byte().validate('aGVsbG8=')", "none"),
        ("format.byte().validate('not base64!')", r#"some(["invalid base64"])"#),
        ("format.date().validate('2021-01-01')", "none"),
        ("format.date().validate('2021-13-01')", r#"some(["invalid date"])"#),
        ("format.datetime().validate('2021-01-01T00:00:00Z')", "none"),
        ("format.datetime().validate('2021-01-01')", r#"some(["invalid datetime"])"#),
        ("format.named('dns1123Label').hasValue()", "true"),
        ("format.named('bogus')", "none"),
        ("format.named('uuid').value() == format.uuid()", "true"),
    ]);
}

#[test]
fn patches() {
    let env = Env::builder().mutation().build();
    let none = Activation::new();
    for (source, wanted) in [
        ("jsonpatch.escapeKey('k8s.io/my~label')", r#""k8s.io~1my~0label""#),
        (
            "JSONPatch{op: 'add', path: '/a', value: Object.metadata.labels{x: 'y'}}",
            r#"JSONPatch{op: "add", path: "/a", value: Object.metadata.labels{x: "y"}}"#,
        ),
        ("Object{spec: Object.spec{replicas: 3}}.spec.replicas", "3"),
        ("has(Object{spec: Object.spec{}}.spec)", "true"),
    ] {
        assert_eq!(eval_in(&env, &none, source), wanted, "{source}");
    }
    assert!(eval("jsonpatch.escapeKey('a')").contains("undeclared reference"));
    assert!(eval("Object{}").contains("undeclared reference"));
}

/// Allows what is asked about `allowed`, fails for `broken`.
#[derive(Debug, Default)]
struct Rules(Mutex<Vec<String>>);

impl Authorizer for Rules {
    fn authorize(&self, subject: &Subject, verb: &str, target: &CheckTarget<'_>) -> Decision {
        let (asked, name) = match target {
            CheckTarget::Path(path) => (format!("{verb} {path}"), path.to_string()),
            CheckTarget::Resource(check) => (
                format!(
                    "{verb} {}.{}/{} {}/{} [{}] [{}]",
                    check.resource,
                    check.group,
                    check.subresource,
                    check.namespace,
                    check.name,
                    check.field_selector,
                    check.label_selector
                ),
                check.name.clone(),
            ),
        };
        let subject = match subject {
            Subject::Requester => "requester".to_owned(),
            Subject::ServiceAccount { namespace, name } => format!("{namespace}:{name}"),
        };
        self.0.lock().unwrap().push(format!("{subject} {asked}"));
        match name.as_str() {
            "allowed" | "/allowed" => Decision { allowed: true, reason: "it may".to_owned(), error: None },
            "broken" => Decision { error: Some("no answer".to_owned()), ..Decision::default() },
            _ => Decision::default(),
        }
    }
}

#[test]
fn authorization() {
    let env = Env::builder()
        .variable("authorizer", Type::authorizer())
        .variable("authorizer.requestResource", Type::request_resource())
        .build();
    for (source, wanted, asked) in [
        ("authorizer.path('/allowed').check('get').allowed()", "true", "requester get /allowed"),
        ("authorizer.path('/other').check('get').allowed()", "false", "requester get /other"),
        (
            "authorizer.group('apps').resource('deployments').subresource('scale').namespace('a').name('allowed').check('update').reason()",
            r#""it may""#,
            "requester update deployments.apps/scale a/allowed [] []",
        ),
        (
            "authorizer.serviceAccount('default', 'robot').group('').resource('pods').name('broken').check('get').errored()",
            "true",
            "default:robot get pods./ /broken [] []",
        ),
        (
            "authorizer.group('').resource('pods').name('broken').check('get').error()",
            r#""no answer""#,
            "requester get pods./ /broken [] []",
        ),
        (
            "authorizer.group('').resource('pods').fieldSelector('a=b').labelSelector('c in (d)').check('list').allowed()",
            "false",
            "requester list pods./ / [a=b] [c in (d)]",
        ),
        (
            "authorizer.requestResource.check('custom').allowed()",
            "true",
            "requester custom pods./ default/allowed [] []",
        ),
        (
            "authorizer.serviceAccount('A', 'b').path('/').check('get').allowed()",
            "error: Invalid service account namespace: A",
            "",
        ),
        (
            "authorizer.serviceAccount('a', '-').path('/').check('get').allowed()",
            "error: Invalid service account name: -",
            "",
        ),
    ] {
        let rules = Rules::default();
        let request = ResourceCheck {
            resource: "pods".to_owned(),
            namespace: "default".to_owned(),
            name: "allowed".to_owned(),
            ..ResourceCheck::default()
        };
        let mut activation = Activation::new();
        activation.set("authorizer", Value::authorizer(&rules));
        activation.set("authorizer.requestResource", Value::request_resource(&rules, request));
        assert_eq!(eval_in(&env, &activation, source), wanted, "{source}");
        drop(activation);
        assert_eq!(rules.0.into_inner().unwrap().join(", "), asked, "{source}");
    }
    let old = env.extend().without_authorizer_selectors().build();
    let refused = old.compile("authorizer.group('').resource('pods').fieldSelector('a=b')").unwrap_err().to_string();
    assert!(refused.contains("undeclared reference to 'fieldSelector'"), "{refused}");
}
