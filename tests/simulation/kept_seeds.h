#pragma once

#include <cstdint>

namespace fanmirror::simulation {

// Seeds that showed a fault of the program, and what it was. A seed means another run once the program or the simulation
// draws otherwise; each fault that was mended has a test of its own beside the code.
inline constexpr std::uint64_t kKeptSeeds[] = {
    1,     // connected again with nothing pending, a target stayed "syncing" for ever
    481,   // the source's disk failed after a directory was made on the target, which was then forgotten there
    492,   // a directory failed half-way: what came below it was put off for ever, and a barrier fell meanwhile
    501,   // a file that left for an excluded name was written there, with its size and mtime kept, and came back
    2484,  // a directory appeared whose metadata was refused; removed in the source meanwhile, it was never removed on the target
    2934,  // a look at what a failed batch would have made let a barrier fall
    4230,  // a hard link could not follow its file, which was put anew, and was taken for whole
    4935,  // an error of the disk at the look at what waits in limbo, and it stayed there for ever
    6303,  // what was listed was not durable on the target, and its power went
    10295, // a file that was elsewhere for a moment was written there, with its size and mtime kept
    10457, // a backup had caught the target in the midst of its last batch, and was taken for the end of that
    1290,  // a directory was moved out whose entries were tried in vain, so that its own removal was not tried, again and again
    1264,  // a file of a batch of unknown outcome had another name, and its content was in doubt only under the first
    2131,  // what failed was newer than the scan that had relied on it
    3646,  // a file was written under a name that had left the source, and had another there
    15239, // an attribute was set in the tick of the clock in which the directory had been read
};

}  // namespace fanmirror::simulation
