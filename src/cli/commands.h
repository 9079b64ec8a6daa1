#pragma once

#include "CLI/CLI.hpp"

namespace fanmirror::cli {

// Each adds one subcommand to `app`; when it is chosen, parsing runs it and leaves its exit code in
// `exit_code`. `exit_code` outlives the parsing.
void AddMirror(CLI::App& app, int* exit_code);
void AddDaemon(CLI::App& app, int* exit_code);
void AddStatus(CLI::App& app, int* exit_code);
void AddWait(CLI::App& app, int* exit_code);
void AddVerify(CLI::App& app, int* exit_code);
void AddApprove(CLI::App& app, int* exit_code);
void AddAdopt(CLI::App& app, int* exit_code);
void AddCheck(CLI::App& app, int* exit_code);
void AddReceive(CLI::App& app, int* exit_code);

// The whole program.
int Main(int argc, const char* const* argv);

}  // namespace fanmirror::cli
