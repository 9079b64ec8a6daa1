#include <exception>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/exit.h"

namespace fanmirror::cli {

int Main(int argc, const char* const* argv) {
  CLI::App app("Keeps a directory tree of this host mirrored, live, on other hosts.", "fanmirror");
  app.set_version_flag("--version", "fanmirror " FANMIRROR_VERSION);
  app.require_subcommand(1);
  int exit_code = kDone;
  AddMirror(app, &exit_code);
  AddDaemon(app, &exit_code);
  AddStatus(app, &exit_code);
  AddWait(app, &exit_code);
  AddVerify(app, &exit_code);
  AddApprove(app, &exit_code);
  AddAdopt(app, &exit_code);
  AddCheck(app, &exit_code);
  AddReceive(app, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {  // --help, --version
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return Fail(kUsage, absl::StrCat(error.what(), "; see fanmirror --help"));
  } catch (const std::exception& error) {
    return Fail(kFailed, error.what());
  }
  return exit_code;
}

}  // namespace fanmirror::cli
