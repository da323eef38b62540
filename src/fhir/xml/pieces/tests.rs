//! What comes through in pieces, and what does not come through.

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { depth: 8, attributes: 4, elements: 20 };

/// Every piece as it was written, or the finding.
fn pieces(text: &str) -> Result<Vec<&str>, Issue> {
    let mut pieces = Pieces::new(text, BOUNDS)?;
    let mut found = Vec::new();
    loop {
        match pieces.next()? {
            Piece::End => return Ok(found),
            _ => found.push(pieces.source()),
        }
    }
}

#[test]
fn the_pieces_put_together_are_the_document() {
    let text = "<?xml version='1.0'?>\n<!-- å --><a:x xmlns:a='urn:a' b = \"1>2\" ><y/>t&amp;&#229;<![CDATA[<]]><?p q?></a:x >\n";
    let found = pieces(text).unwrap();
    assert_eq!(found.concat(), text);
    assert!(found.contains(&"<y/>") && found.contains(&"&amp;") && found.contains(&"<![CDATA[<]]>"));
}

#[test]
fn a_place_is_line_and_column() {
    let issue = pieces("<a>\n å <b></c></a>").unwrap_err();
    assert_eq!(issue.origin.as_deref(), Some("2:7"));
    assert_eq!(pieces("<a>\n å\u{1}</a>").unwrap_err().origin.as_deref(), Some("2:3"));
}

#[test]
fn what_xml_does_not_allow_is_refused() {
    for wrong in [
        "",
        "x",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "<a/><![CDATA[]]>",
        "<a/>&#32;",
        "<a b='1' b='2'/>",
        "<a b='1'c='2'/>",
        "<a b=1/>",
        "<a b='<'/>",
        "<a b='&x;'/>",
        "<a b='&#1;'/>",
        "<a 1b=''/>",
        "<p:a/>",
        "<a p:b=''/>",
        "<a xmlns:p=''/>",
        "<a>&x;</a>",
        "<a>&#1;</a>",
        "<a>]]></a>",
        "<a><!-- -- --></a>",
        "<a>\u{fffe}</a>",
        "<!DOCTYPE a><a/>",
    ] {
        assert!(pieces(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn structure_is_bounded() {
    let deep = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
    assert!(pieces(&deep(8)).is_ok());
    assert!(pieces(&deep(9)).unwrap_err().en.contains("nested"));
    assert!(pieces("<a b='' c='' d='' e=''/>").is_ok());
    assert!(pieces("<a b='' c='' d='' e='' xmlns=''/>").unwrap_err().en.contains("attributes"));
    assert!(pieces(&format!("<a>{}</a>", "<b/>".repeat(19))).is_ok());
    assert!(pieces(&format!("<a>{}</a>", "<b/>".repeat(20))).unwrap_err().en.contains("20 elements"));
}

proptest! {
    #[test]
    fn no_text_makes_it_fall_over(any in "\\PC{0,60}", text in "[<>/a-c ='\"&#;!\\[\\]?-]{0,60}") {
        let _ = pieces(&any);
        let _ = pieces(&text);
    }
}
