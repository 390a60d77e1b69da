// YAML through yaml-cpp's parser events, which carry positions and tell quoted scalars from plain ones.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "wire/source.h"

namespace ballast {
namespace {

// Keeps the first error and ignores what comes after it; yaml-cpp bounds its own recursion.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const SourceText& source) : name_(source.name), text_(source.text) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    CheckAnchor(mark, anchor);
    Scalar(mark, SourceNode::Kind::kNull, "");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { FailAnchor(mark); }
  void OnAnchor(const YAML::Mark& mark, const std::string&) override { FailAnchor(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckAnchor(mark, anchor);
    // "?" is a plain scalar, "!" one in quotes or a block scalar.
    if (tag != "?" && tag != "!") CheckTag(mark, tag);
    if (tag == "!") CheckClosed(mark);
    Scalar(mark, tag == "!" ? SourceNode::Kind::kQuoted : SourceNode::Kind::kPlain, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, SourceNode::Kind::kList);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, SourceNode::Kind::kMap);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapEnd() override { Close(); }

  const absl::Status& status() const { return status_; }
  SourceNode TakeRoot() { return std::move(root_); }

 private:
  // An open list or map. Nodes are finished before they are added to their parent, so no pointer goes stale.
  struct Frame {
    SourceNode node;
    std::set<std::string> keys;
    bool have_key = false;  // of a map: the next value belongs to `key`
    std::string key;
    SourcePosition key_at;
  };

  static SourcePosition At(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

  void Fail(const YAML::Mark& mark, const std::string& message) {
    if (status_.ok()) status_ = SourceError(name_, At(mark), message);
  }
  void FailAnchor(const YAML::Mark& mark) { Fail(mark, "anchors and aliases are not allowed"); }
  void CheckAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) FailAnchor(mark);
  }
  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty()) Fail(mark, absl::StrCat("tags are not allowed, found ", tag));
  }

  // yaml-cpp takes a text that is not closed when a line end comes before the end of the file.
  void CheckClosed(const YAML::Mark& mark) {
    size_t i = static_cast<size_t>(mark.pos);
    if (i >= text_.size() || (text_[i] != '"' && text_[i] != '\'')) return;  // a block scalar
    const char quote = text_[i];
    for (++i; i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\') {
        ++i;
      } else if (text_[i] == quote) {
        bool doubled = quote == '\'' && i + 1 < text_.size() && text_[i + 1] == quote;
        if (!doubled) return;
        ++i;
      }
    }
    if (status_.ok()) status_ = SyntaxError(name_, At(mark), "the text is not closed by a quote");
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, SourceNode::Kind kind) {
    CheckAnchor(mark, anchor);
    if (tag != "?" && tag != "!") CheckTag(mark, tag);
    if (stack_.size() >= static_cast<size_t>(kSourceDepthMax)) {
      Fail(mark, absl::StrCat("nested deeper than the allowed ", kSourceDepthMax, " levels"));
    }
    if (WaitsForKey()) Fail(mark, "a key must be plain text");
    if (!status_.ok()) return;
    Frame frame;
    frame.node.kind = kind;
    frame.node.at = At(mark);
    stack_.push_back(std::move(frame));
  }

  void Close() {
    if (!status_.ok()) return;
    SourceNode node = std::move(stack_.back().node);
    stack_.pop_back();
    Add(std::move(node));
  }

  void Scalar(const YAML::Mark& mark, SourceNode::Kind kind, const std::string& text) {
    if (!status_.ok()) return;
    if (WaitsForKey()) {
      Frame& frame = stack_.back();
      if (kind == SourceNode::Kind::kNull) return Fail(mark, "a key must be plain text, found nothing");
      if (text == "<<") return Fail(mark, "merge keys are not allowed");
      if (!frame.keys.insert(text).second) return Fail(mark, absl::StrCat("duplicate key \"", text, "\""));
      frame.have_key = true;
      frame.key = text;
      frame.key_at = At(mark);
      return;
    }
    SourceNode node;
    node.kind = kind;
    node.at = At(mark);
    node.text = text;
    Add(std::move(node));
  }

  bool WaitsForKey() const {
    return !stack_.empty() && stack_.back().node.kind == SourceNode::Kind::kMap && !stack_.back().have_key;
  }

  void Add(SourceNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
    } else if (Frame& frame = stack_.back(); frame.node.kind == SourceNode::Kind::kMap) {
      frame.node.entries.push_back({frame.key, frame.key_at, std::move(node)});
      frame.have_key = false;
    } else {
      frame.node.items.push_back(std::move(node));
    }
  }

  const std::string& name_;
  const std::string& text_;
  absl::Status status_;
  std::vector<Frame> stack_;
  SourceNode root_;
};

}  // namespace

absl::StatusOr<SourceNode> ParseYaml(const SourceText& source) {
  TreeBuilder builder(source);
  try {
    std::istringstream in(source.text);
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) return SourceError(source.name, {}, "the file is empty");
    if (!builder.status().ok()) return builder.status();
    SourceNode root = builder.TakeRoot();
    TreeBuilder second(source);
    if (parser.HandleNextDocument(second)) {
      return SourceError(source.name, {}, "the file holds several documents, allowed is one");
    }
    return root;
  } catch (const YAML::Exception& e) {
    if (!builder.status().ok()) return builder.status();  // what stood before
    return SyntaxError(source.name, {std::max(e.mark.line, 0) + 1, std::max(e.mark.column, 0) + 1}, e.msg);
  }
}

}  // namespace ballast
