//! The program: everything it does is in `chat::cli`.

fn main() -> std::process::ExitCode {
    chat::cli::main()
}
