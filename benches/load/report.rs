//! Medians of the runs, as tables with ratios to the bare server.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::run::Figures;
use super::scenario::{SCENARIOS, Scenario};
use super::server::Server;

/// The figures of all runs.
#[derive(Default)]
pub(crate) struct Results(BTreeMap<(&'static str, Server), Vec<Figures>>);

impl Results {
    pub(crate) fn add(&mut self, scenario: &'static str, server: Server, figures: Figures) {
        self.0.entry((scenario, server)).or_default().push(figures);
    }

    /// The values of a figure in all runs, sorted.
    fn values(&self, scenario: &'static str, server: Server, figure: &str) -> Vec<f64> {
        let runs = self.0.get(&(scenario, server)).into_iter().flatten();
        let mut values: Vec<_> = runs.filter_map(|run| run.get(figure).copied()).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    pub(crate) fn median(
        &self,
        scenario: &'static str,
        server: Server,
        figure: &str,
    ) -> Option<f64> {
        let values = self.values(scenario, server, figure);
        values.get(values.len() / 2).copied()
    }

    /// The tables of all scenarios that were run.
    pub(crate) fn tables(&self) -> String {
        SCENARIOS.iter().map(|scenario| self.table(scenario)).collect()
    }

    fn table(&self, scenario: &Scenario) -> String {
        let mut text = String::new();
        let servers: Vec<_> = Server::ALL
            .into_iter()
            .filter(|server| self.0.contains_key(&(scenario.name, *server)))
            .collect();
        if servers.is_empty() {
            return text;
        }
        let first = scenario.columns[0];
        let bare = self.median(scenario.name, Server::Bare, first);
        let header = [&["server", "ratio to bare"], scenario.columns].concat();
        write!(text, "\n{}: {}; median (lowest to highest)\n\n", scenario.name, scenario.about)
            .unwrap();
        writeln!(text, "| {} |\n|{}", header.join(" | "), " --- |".repeat(header.len())).unwrap();
        for server in servers {
            let own = self.median(scenario.name, server, first);
            let ratio =
                own.zip(bare).map_or_else(String::new, |(own, bare)| format!("{:.2}", own / bare));
            write!(text, "| {} | {ratio} |", server.name()).unwrap();
            for column in scenario.columns {
                write!(text, " {} |", range(&self.values(scenario.name, server, column))).unwrap();
            }
            text.push('\n');
        }
        text
    }
}

fn range(values: &[f64]) -> String {
    let [lowest, .., highest] = values else {
        return values.first().copied().map_or_else(String::new, number);
    };
    let median = number(values[values.len() / 2]);
    let (lowest, highest) = (number(*lowest), number(*highest));
    if lowest == highest { median } else { format!("{median} ({lowest} to {highest})") }
}

/// Three significant digits, or all digits before the point.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<_> =
                digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
            groups.join(",")
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
