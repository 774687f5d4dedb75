//! A page of the report, as Markdown and as HTML.

use std::fmt::Write as _;

/// What a page is made of, from top to bottom.
pub enum Block {
    /// A heading: 1 is the page's own.
    Heading(u8, String),
    /// A paragraph. What is between backticks is code.
    Paragraph(String),
    /// A table: its head, then its rows.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// A picture beside the page: its file, and what it shows.
    Picture(String, String),
}

/// As Markdown.
pub fn markdown(page: &[Block]) -> String {
    let mut text = String::new();
    for block in page {
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a string does not fail.
        let _ = match block {
            Block::Heading(level, words) => writeln!(text, "{} {words}", "#".repeat(usize::from(*level))),
            Block::Paragraph(words) => writeln!(text, "{words}"),
            Block::Picture(file, words) => writeln!(text, "![{words}]({file})"),
            Block::Table(head, rows) => {
                let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
                text += &line(head.iter().map(ToString::to_string).collect());
                text += &line(head.iter().map(|_| "---".to_owned()).collect());
                for row in rows {
                    text +=
                        &line(row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect());
                }
                Ok(())
            }
        };
    }
    text
}

/// As HTML that needs nothing else but its pictures.
pub fn html(title: &str, page: &[Block]) -> String {
    const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;\
        color:#1a1a1a;background:#fff}table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #ccc;\
        padding:.25rem .6rem;text-align:left;vertical-align:top}th{background:#f3f3f3}img{max-width:100%}\
        code{background:#f3f3f3;padding:0 .2rem}";
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(title)
    );
    for block in page {
        let _ = match block {
            Block::Heading(level, words) => writeln!(text, "<h{level}>{}</h{level}>", inline(words)),
            Block::Paragraph(words) => writeln!(text, "<p>{}</p>", inline(words)),
            Block::Picture(file, words) => {
                writeln!(text, "<p><img src=\"{}\" alt=\"{}\"></p>", escaped(file), escaped(words))
            }
            Block::Table(head, rows) => {
                let line = |tag: &str, cells: Vec<String>| {
                    let cells: Vec<_> =
                        cells.iter().map(|c| format!("<{tag}>{}</{tag}>", inline(c))).collect();
                    format!("<tr>{}</tr>\n", cells.concat())
                };
                text += "<table>\n";
                text += &line("th", head.iter().map(ToString::to_string).collect());
                rows.iter().for_each(|row| text += &line("td", row.clone()));
                writeln!(text, "</table>")
            }
        };
    }
    text + "</html>\n"
}

/// Text with its code spans.
fn inline(words: &str) -> String {
    let mut parts = words.split('`').enumerate().peekable();
    let mut text = String::new();
    while let Some((number, part)) = parts.next() {
        match (number % 2 == 1, parts.peek().is_some()) {
            (true, true) => text += &format!("<code>{}</code>", escaped(part)),
            // The last backtick has no partner.
            (true, false) => text += &format!("`{}", escaped(part)),
            (false, _) => text += &escaped(part),
        }
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<Block> {
        vec![
            Block::Heading(1, "Proof".into()),
            Block::Paragraph("Run `make proof` & <see>.".into()),
            Block::Table(vec!["what", "held"], vec![vec!["a|b".into(), "1\n2".into()]]),
            Block::Picture("fleet.svg".into(), "the \"wave\"".into()),
        ]
    }

    #[test]
    fn as_markdown() {
        let want = "# Proof\n\nRun `make proof` & <see>.\n\n| what | held |\n| --- | --- |\n| a\\|b | 1 2 |\n\n\
            ![the \"wave\"](fleet.svg)\n";
        assert_eq!(markdown(&page()), want);
    }

    #[test]
    fn as_html_nothing_of_a_text_is_markup() {
        let text = html("Proof", &page());
        assert!(text.contains("<p>Run <code>make proof</code> &amp; &lt;see&gt;.</p>"), "{text}");
        assert!(text.contains("<tr><td>a|b</td><td>1\n2</td></tr>"), "{text}");
        assert!(text.contains("<img src=\"fleet.svg\" alt=\"the &quot;wave&quot;\">"), "{text}");
        assert_eq!(inline("a `b"), "a `b");
        assert_eq!(inline("`<`"), "<code>&lt;</code>");
    }
}
