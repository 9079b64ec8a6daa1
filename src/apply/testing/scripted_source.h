#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/op.h"
#include "os/unique_fd.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace fanmirror::apply::testing {

// The other end of a receiver, for tests: a receiver in a child process, and what a source would say to it.
// What is said is collected until Flush or a call that waits for an answer. Failures to talk are test
// failures.
class ScriptedSource {
 public:
  // `before`: run in the child before the receiver.
  explicit ScriptedSource(const std::string& root, const std::function<void()>& before = {});
  ~ScriptedSource();

  static wire::Hello DefaultHello();
  // Gives the reply; nullopt when the receiver ended instead.
  std::optional<wire::HelloReply> Greet(const wire::Hello& hello = DefaultHello());

  void Begin(std::uint64_t number, std::uint64_t settled = 0);
  void End();
  bool in_batch() const { return in_batch_; }
  void Put(const std::string& path, std::string_view content, model::Metadata metadata = {},
           const std::vector<model::Xattr>& xattrs = {});
  void BeginPut(const std::string& path, model::Metadata metadata,
                const std::vector<model::Xattr>& xattrs = {});
  void Data(std::uint64_t offset, std::string_view bytes) { wire::AppendData(offset, bytes, &out_); }
  void EndPut(const model::ContentHash& hash) { wire::AppendPutEnd({hash, false}, &out_); }
  void AbortPut() { wire::AppendPutAbort(&out_); }
  void Make(const std::string& path, const model::Metadata& metadata,
            const std::vector<model::Xattr>& xattrs = {}, const std::string& symlink_target = "");
  void Directory(const std::string& path);
  void SetMetadata(const std::string& path, const model::Metadata& metadata,
                   const std::vector<model::Xattr>& xattrs = {});
  // kLink, kRename, kExchange, kRemove.
  void Change(model::Op::Kind kind, const std::string& path, const std::string& from = "");
  void Raw(std::string_view bytes) { out_.append(bytes); }
  void Flush();

  // The next Ack; fails the test when the receiver ends or stays silent for a minute.
  wire::Ack WaitAck();
  // Ends the batch and gives its Ack, which must be for it.
  wire::Ack EndAndWait();
  // All Listings that answer, with digests; `by_pages`: each is asked for by itself.
  std::vector<wire::Listing> List(const std::string& path, bool children, bool by_pages = false);
  // The answer to a HashFile, if the receiver gives one.
  std::optional<wire::FileHash> HashFile(const std::string& path);
  bool Ping(std::uint64_t id);
  // Whether the next frame is a Ping that nobody asked for.
  bool HearsPing();

  // Closes the input and waits: the exit status, 0 when RunReceiver returned OK; or minus the signal.
  int Close();
  void Kill(int signal);
  int Wait();
  pid_t pid() const { return pid_; }
  // What the receiver's RunReceiver returned, once it ended.
  std::string Complaint();

 private:
  std::optional<wire::Frame> Next();

  pid_t pid_ = -1;
  os::UniqueFd to_;
  os::UniqueFd from_;
  os::UniqueFd complaint_;
  std::string out_;
  std::uint64_t batch_ = 0;
  bool in_batch_ = false;
  wire::Decoder decoder_;
};

}  // namespace fanmirror::apply::testing
