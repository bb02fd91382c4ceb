//! Finds what stands out in a text: Markdown in moderation, mentions and links.
//!
//! Emphasis, inline code, fenced code, lists and quotes are recognised. Lines are split here and only what is
//! inside a line is parsed as Markdown, for two reasons. Every line break of a message is kept, which Markdown
//! does not do. And code and quotes have to be what the server takes for them when it looks for mentions
//! ([`mention_words`]): a line after a quote is not a part of it.

use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use ratatui::style::{Modifier, Style};

use super::link::{Link, find_links};
use crate::protocol::mention::{MentionWord, mention_words};
use crate::tui::theme::Theme;

/// What a part of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Face {
    /// Plain text.
    #[default]
    Text,
    /// A mark of Markdown, such as the `*` around a word.
    Marker,
    /// Code.
    Code,
    /// A part of a quote.
    Quote,
    /// A mention.
    Mention(MentionKind),
}

/// Who is mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MentionKind {
    /// The user.
    Own,
    /// Another user.
    Other,
}

/// How a part of a text is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Format {
    /// What it is.
    pub face: Face,
    /// Bold and italic.
    pub emphasis: Modifier,
    /// The link that it belongs to.
    pub link: Option<Link>,
}

impl Format {
    /// The style of the text in a message whose own style is `base`.
    pub fn style(&self, base: Style, theme: Theme) -> Style {
        let style = match self.face {
            Face::Text => base,
            Face::Marker => base.patch(theme.dim()),
            Face::Code => base.patch(theme.accent()),
            Face::Quote => base.add_modifier(Modifier::ITALIC),
            Face::Mention(MentionKind::Own) => base.patch(theme.mention()),
            Face::Mention(MentionKind::Other) => base.add_modifier(Modifier::BOLD),
        };
        let style = style.add_modifier(self.emphasis);
        match self.link {
            Some(_) => style.patch(theme.accent()).add_modifier(Modifier::UNDERLINED),
            None => style,
        }
    }
}

/// What a line begins with, which continues on the rows that it is wrapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lead {
    /// Nothing.
    #[default]
    None,
    /// Code: its spaces are kept.
    Code,
    /// A quote. This many bytes of the line, its `>`, are drawn as a bar.
    Quote(usize),
    /// An item of a list. This many bytes of the line, with the mark of the item, are its indentation.
    Item(usize),
}

/// A line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// Where it is in the text, without its line break.
    pub range: Range<usize>,
    /// What it begins with.
    pub lead: Lead,
    /// The formats of its parts. They are in order and have no gaps.
    pub runs: Vec<Run>,
}

/// A part of a text that is drawn in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct Run {
    pub range: Range<usize>,
    pub format: Format,
}

/// Finds the formats of a text. `mention` tells whom a word that begins with `@` mentions, if anybody.
pub fn parse(
    text: &str,
    mention: impl Fn(&MentionWord<'_>) -> Option<MentionKind>,
) -> Vec<Paragraph> {
    let mut overlays: Vec<Run> = find_links(text)
        .into_iter()
        .map(|found| Run {
            range: found.range,
            format: Format { link: Some(found.link), ..Format::default() },
        })
        .collect();
    if text.contains('@') {
        let words = mention_words(text).into_iter().filter_map(|word| {
            let face = Face::Mention(mention(&word)?);
            Some(Run { range: word.range, format: Format { face, ..Format::default() } })
        });
        overlays.extend(words);
        overlays.sort_by_key(|run| run.range.start);
        // A mention inside a link is a part of the link.
        let mut end = 0;
        overlays.retain(|run| {
            let is_free = run.range.start >= end;
            end = end.max(run.range.end);
            is_free
        });
    }
    let mut overlays = overlays.into_iter().peekable();
    let (mut is_fenced, mut start) = (false, 0);
    let lines = text.split('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end + 1;
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        let (lead, mut runs) = match (is_fence, is_fenced) {
            (true, _) => (Lead::Code, vec![Run::plain(0..line.len(), Face::Marker)]),
            (false, true) => (Lead::Code, vec![Run::plain(0..line.len(), Face::Code)]),
            (false, false) => parse_line(line),
        };
        for run in &mut runs {
            run.range = run.range.start + range.start..run.range.end + range.start;
        }
        let mut of_line = Vec::new();
        while let Some(overlay) = overlays.next_if(|overlay| overlay.range.start < range.end) {
            of_line.push(overlay);
        }
        Paragraph { lead, runs: patch(runs, of_line), range }
    });
    lines.collect()
}

/// The lines of a text without Markdown.
pub fn plain(text: &str) -> Vec<Paragraph> {
    let mut start = 0;
    let lines = text.split('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end + 1;
        Paragraph { runs: vec![Run::plain(range.clone(), Face::Text)], lead: Lead::None, range }
    });
    lines.collect()
}

impl Run {
    fn plain(range: Range<usize>, face: Face) -> Self {
        Self { range, format: Format { face, ..Format::default() } }
    }
}

/// Parses a line outside fenced code.
fn parse_line(line: &str) -> (Lead, Vec<Run>) {
    let indentation = line.len() - line.trim_start().len();
    let rest = line.trim_start();
    if let Some(quoted) = rest.strip_prefix('>') {
        let bar = line.len() - quoted.trim_start_matches(' ').len();
        return (Lead::Quote(bar), inline(line, bar, Face::Quote));
    }
    let mark = indentation + list_mark(rest);
    let lead = if mark > indentation { Lead::Item(mark) } else { Lead::None };
    (lead, inline(line, if mark > indentation { mark } else { 0 }, Face::Text))
}

/// The length of the mark of a list item at the start of a line: `- `, `* `, `+ ` or a number such as `1. `.
fn list_mark(line: &str) -> usize {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    match line.as_bytes().get(digits..) {
        Some([b'-' | b'*' | b'+', b' ', ..]) if digits == 0 => 2,
        Some([b'.' | b')', b' ', ..]) if (1..=3).contains(&digits) => digits + 2,
        _ => 0,
    }
}

/// The formats of a line whose first `lead` bytes are not Markdown. Text of no other kind has the face `face`.
fn inline(line: &str, lead: usize, face: Face) -> Vec<Run> {
    let plain = vec![Run::plain(0..line.len(), face)];
    let rest = line.get(lead..).unwrap_or_default().trim_start();
    if !rest.contains(['*', '_', '`']) {
        return plain;
    }
    let start = line.len() - rest.len();
    let mut runs = Runs { runs: vec![Run::plain(0..start, face)], end: start };
    let (mut italic, mut bold) = (0_u32, 0_u32);
    for (event, range) in Parser::new(rest).into_offset_iter() {
        match event {
            Event::Start(Tag::Emphasis) => italic += 1,
            Event::Start(Tag::Strong) => bold += 1,
            Event::End(TagEnd::Emphasis) => italic = italic.saturating_sub(1),
            Event::End(TagEnd::Strong) => bold = bold.saturating_sub(1),
            Event::Text(_) | Event::Code(_) | Event::InlineHtml(_) | Event::Html(_) => {
                let mut emphasis = Modifier::empty();
                emphasis.set(Modifier::ITALIC, italic > 0);
                emphasis.set(Modifier::BOLD, bold > 0);
                let face = if matches!(event, Event::Code(_)) { Face::Code } else { face };
                let format = Format { face, emphasis, link: None };
                runs.push(range.start + start..range.end + start, format);
            }
            _ => {}
        }
    }
    if runs.end == start {
        // A line of marks alone, such as `***`.
        return plain;
    }
    runs.mark_up_to(line.len());
    runs.runs
}

/// Collects runs. What is skipped between two is a mark of Markdown.
struct Runs {
    runs: Vec<Run>,
    end: usize,
}

impl Runs {
    fn push(&mut self, range: Range<usize>, format: Format) {
        self.mark_up_to(range.start);
        let range = range.start.max(self.end)..range.end;
        if !range.is_empty() {
            self.end = range.end;
            self.runs.push(Run { range, format });
        }
    }

    fn mark_up_to(&mut self, start: usize) {
        if start > self.end {
            self.runs.push(Run::plain(self.end..start, Face::Marker));
            self.end = start;
        }
    }
}

/// Patches the formats of `runs` where `overlays` are: both in order.
fn patch(runs: Vec<Run>, overlays: Vec<Run>) -> Vec<Run> {
    if overlays.is_empty() {
        return runs;
    }
    let mut patched = Vec::with_capacity(runs.len() + 2 * overlays.len());
    let mut overlays = overlays.into_iter().peekable();
    for run in runs {
        let mut start = run.range.start;
        while start < run.range.end {
            while overlays.next_if(|overlay| overlay.range.end <= start).is_some() {}
            let (end, overlay) = match overlays.peek() {
                Some(next) if next.range.start > start => {
                    (next.range.start.min(run.range.end), None)
                }
                Some(next) => (next.range.end.min(run.range.end), Some(&next.format)),
                None => (run.range.end, None),
            };
            let mut format = run.format.clone();
            if let Some(overlay) = overlay {
                match overlay.face {
                    Face::Text => {}
                    face => format.face = face,
                }
                format.link.clone_from(&overlay.link);
            }
            patched.push(Run { range: start..end, format });
            start = end;
        }
    }
    patched
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a text that are not plain, with what they are.
    fn marked(text: &str) -> Vec<(&str, String)> {
        let mention = |word: &MentionWord<'_>| {
            Some(if word.name == "Bob" { MentionKind::Own } else { MentionKind::Other })
        };
        let paragraphs = parse(text, mention);
        let mut end = 0;
        for paragraph in &paragraphs {
            assert_eq!(paragraph.range.start, end, "{text:?}");
            for run in &paragraph.runs {
                assert_eq!(run.range.start, end, "no gaps in {text:?}: {:?}", paragraph.runs);
                end = run.range.end;
            }
            assert_eq!(paragraph.range.end, end, "{text:?}");
            end += 1;
        }
        let runs = paragraphs.iter().flat_map(|paragraph| &paragraph.runs);
        let marked = runs.filter(|run| run.format != Format::default() && !run.range.is_empty());
        marked
            .map(|run| {
                let Format { face, emphasis, link } = &run.format;
                let what = match (link, emphasis.is_empty()) {
                    (Some(link), _) => link.as_str().to_owned(),
                    (None, false) => format!("{emphasis:?}"),
                    (None, true) => format!("{face:?}"),
                };
                (text.get(run.range.clone()).unwrap(), what)
            })
            .collect()
    }

    #[test]
    fn markdown_is_marked_and_kept() {
        let found = |text| {
            let marked = marked(text).into_iter();
            marked.map(|(part, what)| format!("{part}={what}")).collect::<Vec<_>>().join(" ")
        };
        for (text, marks) in [
            ("plain, 2 * 3 * 4 and snake_case_name", ""),
            ("an *important* word", "*=Marker important=ITALIC *=Marker"),
            (
                "**two words** _one_",
                "**=Marker two words=BOLD **=Marker _=Marker one=ITALIC _=Marker",
            ),
            ("run `rm *x*` now", "`rm *x*`=Code"),
            ("> quoted\nanswer", "> quoted=Quote"),
            ("```rust\nlet *x*;\n```\nafter", "```rust=Marker let *x*;=Code ```=Marker"),
            ("***", ""),
            ("* * *", ""),
            ("- *a*\n    b", "*=Marker a=ITALIC *=Marker"),
            ("hi @Kim and @Bob", "@Kim=Mention(Other) @Bob=Mention(Own)"),
            (
                "`@Kim` https://x.example/@Kim",
                "`@Kim`=Code https://x.example/@Kim=https://x.example/@Kim",
            ),
            ("*https://x.example*", "*=Marker https://x.example=https://x.example *=Marker"),
        ] {
            assert_eq!(found(text), marks, "{text:?}");
        }
    }

    #[test]
    fn leads_are_found_at_the_start_of_lines() {
        let leads = |text| parse(text, |_| None).iter().map(|p| p.lead).collect::<Vec<_>>();
        assert_eq!(
            leads("- one\n  12. two\n> three\n>four\n-5\n1986. was"),
            [Lead::Item(2), Lead::Item(6), Lead::Quote(2), Lead::Quote(1), Lead::None, Lead::None]
        );
    }

    proptest::proptest! {
        #[test]
        fn runs_cover_any_text(text in "[a*_`>~#<!\\[\\]()& \n\tß@:/.1-]{0,80}") {
            marked(&text);
        }
    }
}
