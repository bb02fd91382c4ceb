//! Draws the medians as an SVG of horizontal bars, for light and dark pages.

use std::fmt::Write as _;

use super::report::{Results, number};
use super::server::Server;

/// Title, scenario, figure, unit.
type Panel = [&'static str; 4];

const PANELS: [Panel; 5] = [
    [
        "Server CPU per delivery: 100 members, 64 messages in flight",
        "fanout-64",
        "cpu_us_per_delivery",
        "µs",
    ],
    [
        "Server CPU per delivery: 100 members, 1,024 messages in flight",
        "fanout-1024",
        "cpu_us_per_delivery",
        "µs",
    ],
    [
        "Latency, 99th percentile: 100 members, 50 messages a second",
        "latency",
        "latency_p99_ms",
        "ms",
    ],
    ["Server CPU per login", "login", "login_cpu_ms", "ms"],
    ["Memory per idle connection, 10,000 members", "login", "kib_per_connection", "KiB"],
];

const WIDTH: usize = 760;
const BAR_LEFT: f64 = 130.0;
const BAR_LENGTH: f64 = 500.0;
const ROW: usize = 22;
/// The picture brings its background along, so that it is readable wherever the page's colors differ from
/// the system's.
const STYLE: &str = "\
text{fill:#1f2328;font:13px system-ui,sans-serif}.title{font-weight:600}.note{fill:#59636e}\
.page{fill:#ffffff}.own{fill:#0969da}.bare{fill:#6e7781}.other{fill:#afb8c1}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}\
.page{fill:#14171c}.own{fill:#4493f8}.bare{fill:#8b949e}.other{fill:#484f58}}";

const NOTES: [&str; 3] = [
    "Shorter is better. One core for the server, another for the load generator.",
    "bare: TLS and copying only, with messages as long as those of chat.",
    "chat stores each message on disk before it delivers it; the others do not store messages.",
];

/// The chart. Panels without measurements are left out.
pub(crate) fn draw(results: &Results) -> String {
    let (mut body, mut y) = (String::new(), 14);
    for panel in &PANELS {
        y = draw_panel(panel, results, &mut body, y);
    }
    for line in NOTES {
        y += 18;
        writeln!(body, r#"<text class="note" x="16" y="{y}">{line}</text>"#).unwrap();
    }
    let height = y + 16;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         role=\"img\">\n<title>chat compared with other servers</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\" rx=\"9\"/>\n{body}</svg>\n"
    )
}

/// Draws a panel at `y` and returns where the next one starts.
fn draw_panel(panel: &Panel, results: &Results, body: &mut String, mut y: usize) -> usize {
    let [title, scenario, figure, unit] = *panel;
    let bars: Vec<_> = Server::ALL
        .into_iter()
        .filter_map(|server| Some((server, results.median(scenario, server, figure)?)))
        .collect();
    let Some(longest) = bars.iter().map(|(_, value)| *value).max_by(f64::total_cmp) else {
        return y;
    };
    y += 18;
    writeln!(body, r#"<text class="title" x="16" y="{y}">{title}</text>"#).unwrap();
    for (server, value) in bars {
        y += ROW;
        let class = match server {
            Server::Chat => "own",
            Server::Bare => "bare",
            _ => "other",
        };
        let length = (value / longest * BAR_LENGTH).max(1.0);
        let (top, after) = (y - 13, BAR_LEFT + length + 8.0);
        writeln!(
            body,
            "<text x=\"32\" y=\"{y}\">{}</text><rect class=\"{class}\" x=\"{BAR_LEFT}\" y=\"{top}\" \
             width=\"{length:.1}\" height=\"16\" rx=\"2\"/><text x=\"{after:.1}\" y=\"{y}\">{} {unit}</text>",
            server.name(),
            number(value),
        )
        .unwrap();
    }
    y + 14
}
