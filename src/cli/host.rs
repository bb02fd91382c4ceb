//! To come.

/// To come.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// To come.
pub(super) async fn run(_args: Args) -> anyhow::Result<()> {
    std::future::ready(Ok(())).await
}
