//! Marks and HTML: rules, bounds, round trips.

use super::names::Names;
use super::*;
use proptest::prelude::*;

fn nobody(_: &str) -> Option<(String, String)> {
    None
}

fn to_html(text: &str) -> String {
    show(&read(text, &Names::none()), &nobody)
}

fn to_marks(html: &str) -> String {
    marks::write(&html::read(html).unwrap(), &|_| None)
}

#[test]
fn marks_are_read_as_the_phone_shows_them() {
    for (text, html) in [
        ("*bold* _it_ ~no~ `c`", "<strong>bold</strong> <em>it</em> <del>no</del> <code>c</code>"),
        ("*_both_*", "<strong><em>both</em></strong>"),
        ("_*~all~*_!", "<em><strong><del>all</del></strong></em>!"),
        ("snake_case_name 2*3*4", "snake_case_name 2*3*4"),
        ("* not bold*", "<ul><li>not bold*</li></ul>"),
        ("a * b * c", "a * b * c"),
        ("*a\nb*", "*a<br>b*"),
        ("*a _b* c_", "<strong>a _b</strong> c_"),
        ("**x**", "*<strong>x</strong>*"),
        ("`*x*`", "<code>*x*</code>"),
        ("https://a.example/_x_/*y* *z*", "https://a.example/_x_/*y* <strong>z</strong>"),
        ("*https://a.example*", "<strong>https://a.example</strong>"),
        ("```one *line*```", "<code>one *line*</code>"),
        ("a\n```x\n y```\nb", "<p>a</p><pre><code>x\n y\n</code></pre><p>b</p>"),
        ("> q\n> *r*\nt", "<blockquote>q<br><strong>r</strong></blockquote><p>t</p>"),
        ("> > deep", "<blockquote><blockquote>deep</blockquote></blockquote>"),
        ("- a\n- b\n* c", "<ul><li>a</li><li>b</li><li>c</li></ul>"),
        ("3. a\n4. b\n9. c", "<ol start=\"3\"><li>a</li><li>b</li></ol><ol start=\"9\"><li>c</li></ol>"),
        ("1. ", "1. "),
        ("<b>&\"", "&lt;b&gt;&amp;&quot;"),
        (">", "&gt;"),
    ] {
        assert_eq!(to_html(text), html, "{text}");
    }
}

#[test]
fn html_becomes_marks_the_phone_reads() {
    for (html, text) in [
        ("<b>a</b> <i>b</i> <del>c</del> <code>d</code>", "*a* _b_ ~c~ `d`"),
        ("x<b>y</b>z <b> w </b>!", "xyz  *w* !"),
        ("<strong>a<br>b</strong>", "*a*\n*b*"),
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<h2>Title</h2>text", "*Title*\n\ntext"),
        ("<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>", "- a\n  - b\n- c"),
        ("<ol start=\"4\"><li>a<li>b</ol>", "4. a\n5. b"),
        ("<blockquote><p>q</p><p>r</p></blockquote>t", "> q\n> \n> r\nt"),
        ("<pre><code class=\"language-rust\">fn x()\n  {}\n</code></pre>", "```\nfn x()\n  {}\n```"),
        ("<a href=\"https://a.example/\">a.example</a>", "a.example"),
        ("<a href=\"https://a.example/x\">here</a>", "here (https://a.example/x)"),
        ("<a href=\"javascript:x\">here</a>", "here"),
        ("<a href=\"https://matrix.to/#/#room:x\">#room:x</a>", "#room:x"),
        ("<mx-reply><blockquote>old</blockquote></mx-reply>new", "new"),
        ("<span data-mx-spoiler=\"why\">secret</span>", "(why) ||secret||"),
        ("<img alt=\":cat:\" src=\"mxc://x/y\">", ":cat:"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>", "a | b\n1 | 2"),
        ("<script>alert(1)</script>a<style>b</style>", "a"),
        ("a&amp;b &lt;3 &#x1F600;", "a&b <3 😀"),
        ("<unknown>a</unknown> <u>b</u>", "a b"),
        ("a\n  b", "a b"),
        ("<hr>", "———"),
        ("<b><b>a</b></b>", "*a*"),
        ("<b>a<p>b</p></b>", "a\n\nb"),
        ("<code>a`b</code>", "```a`b```"),
        ("</p></div>a", "a"),
        ("", ""),
    ] {
        assert_eq!(to_marks(html), text, "{html}");
    }
}

#[test]
fn people_are_found_in_links() {
    for (href, id) in [
        ("https://matrix.to/#/@a:b.example", Some("@a:b.example")),
        ("https://matrix.to/#/%40a%3Ab.example?via=x", Some("@a:b.example")),
        ("matrix:u/a:b.example", Some("@a:b.example")),
        ("https://matrix.to/#/!r:b.example/$e", None),
        ("https://matrix.to/#/@a%FF:b", None),
        ("https://matrix.to/#/@a%", None),
        ("https://evil.example/#/@a:b", None),
    ] {
        assert_eq!(html::person_of(href).as_deref(), id, "{href}");
    }
}

/// Deep elements neither exhaust the stack nor take long.
#[test]
fn deep_and_huge_html_is_bounded() {
    let deep = "<div>".repeat(13_000);
    assert_eq!(to_marks(&format!("{deep}x")), "x");
    let marked = "<b><i>".repeat(8_000);
    assert_eq!(to_marks(&format!("{marked}x")), "*_x_*");
    assert!(html::read(&"x".repeat(html::MAX_HTML + 1)).is_none());
}

/// Texts made to be looked at again and again are read in one go.
#[test]
fn nasty_texts_are_read_quickly() {
    for piece in ["*a ", "_", "`", "> ", "*_~", "@1", "http://", "1. ", "```\n", "*a_b~c`"] {
        let text = piece.repeat(65_536 / piece.len());
        assert!(!show(&read(&text, &Names::none()), &nobody).is_empty());
    }
}

proptest! {
    #[test]
    fn text_without_marks_stays_as_it_is(text in "[a-zA-Z0-9 ,.!?äé👋\n]{0,80}") {
        let blocks = read(&text, &Names::none());
        prop_assume!(text.split('\n').all(|line| !line.contains(". ")));
        prop_assert!(!is_formatted(&blocks));
        prop_assert_eq!(marks::write(&blocks, &|_| None), text);
    }

    #[test]
    fn anything_can_be_read(text in "([*_~`> @1.\\-\n]|[a-c]|\\PC){0,120}") {
        let html = to_html(&text);
        prop_assert!(html.len() <= 100 + text.len() * 24);
        // Every letter arrives.
        let count = |text: &str| text.chars().filter(|c| c.is_alphabetic() && !c.is_ascii()).count();
        prop_assert_eq!(count(&html), count(&text));
    }

    #[test]
    fn any_html_can_be_read(html in "(<(/)?(b|i|p|ul|li|pre|code|a href=x|blockquote|table|tr|td|br|h1)>|[a-c \n&;]|\\PC){0,80}") {
        let text = to_marks(&html);
        prop_assert!(text.len() <= 100 + html.len() * 20);
        prop_assert!(!text.contains(char::MIN));
    }

    /// What went through both directions once does not change any more.
    #[test]
    fn marks_survive_the_way_there_and_back(words in prop::collection::vec("(\\*[a-c]{1,3}\\*|_[a-c]{1,3}_|~[a-c]~|`[a-c]`|\\*_[a-c]_\\*|[a-d]{1,4})", 1..12), list in any::<bool>()) {
        let line = words.join(" ");
        let text = if list { format!("- {line}\n- x\n> {line}\nend") } else { line };
        let html = to_html(&text);
        prop_assert_eq!(to_marks(&html), text);
    }
}
