#include "cli/commands.h"

int main(int argc, char** argv) { return fanmirror::cli::Main(argc, argv); }
