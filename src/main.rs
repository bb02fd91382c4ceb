//! The `chat` binary; see [`chat::cli`].

fn main() -> std::process::ExitCode {
    chat::cli::main()
}
