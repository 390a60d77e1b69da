// JSON by the letter of RFC 8259, with positions and without duplicate keys.
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "wire/source.h"
#include "wire/utf8.h"

namespace ballast {
namespace {

// A recursive-descent parser; the first error stops it. Every Parse* leaves the cursor behind what it read.
class JsonParser {
 public:
  explicit JsonParser(const SourceText& source) : name_(source.name), text_(source.text) {}

  absl::StatusOr<SourceNode> Document() {
    SourceNode root;
    SkipBlanks();
    if (AtEnd()) return SourceError(name_, {}, "the file is empty");
    if (!Value(&root, 0)) return status_;
    SkipBlanks();
    if (!AtEnd()) return SyntaxError(name_, at_, absl::StrCat("unexpected ", Found(), " after the document"));
    return root;
  }

 private:
  bool Value(SourceNode* node, int depth) {
    node->at = at_;
    if (AtEnd()) return Fail("unexpected end of the file");
    if (depth > kSourceDepthMax) {
      status_ = SourceError(name_, at_,
                            absl::StrCat("nested deeper than the allowed ", kSourceDepthMax, " levels"));
      return false;
    }
    switch (Peek()) {
      case '{':
        return Object(node, depth);
      case '[':
        return Array(node, depth);
      case '"':
        node->kind = SourceNode::Kind::kQuoted;
        return String(&node->text);
      default:
        return Word(node);
    }
  }

  bool Object(SourceNode* node, int depth) {
    node->kind = SourceNode::Kind::kMap;
    Next();
    SkipBlanks();
    if (Take('}')) return true;
    std::set<std::string> keys;
    while (true) {
      SkipBlanks();
      SourceEntry entry;
      entry.at = at_;
      if (AtEnd() || Peek() != '"')
        return Fail(absl::StrCat("expected a key in double quotes, found ", Found()));
      if (!String(&entry.key)) return false;
      if (!keys.insert(entry.key).second) {
        status_ = SourceError(name_, entry.at, absl::StrCat("duplicate key \"", entry.key, "\""));
        return false;
      }
      SkipBlanks();
      if (!Take(':')) return Fail(absl::StrCat("expected ':' after a key, found ", Found()));
      SkipBlanks();
      if (!Value(&entry.value, depth + 1)) return false;
      node->entries.push_back(std::move(entry));
      SkipBlanks();
      if (Take('}')) return true;
      if (!Take(',')) return Fail(absl::StrCat("expected ',' or '}', found ", Found()));
    }
  }

  bool Array(SourceNode* node, int depth) {
    node->kind = SourceNode::Kind::kList;
    Next();
    SkipBlanks();
    if (Take(']')) return true;
    while (true) {
      SkipBlanks();
      SourceNode item;
      if (!Value(&item, depth + 1)) return false;
      node->items.push_back(std::move(item));
      SkipBlanks();
      if (Take(']')) return true;
      if (!Take(',')) return Fail(absl::StrCat("expected ',' or ']', found ", Found()));
    }
  }

  bool String(std::string* out) {
    Next();  // the quote
    while (true) {
      if (AtEnd()) return Fail("the text is not closed by a double quote");
      char c = Peek();
      if (c == '"') {
        Next();
        return true;
      }
      if (static_cast<unsigned char>(c) < 0x20)
        return Fail("a line end or tab inside a text must be written \\n or \\t");
      Next();
      if (c != '\\') {
        out->push_back(c);
      } else if (!Escape(out)) {
        return false;
      }
    }
  }

  bool Escape(std::string* out) {
    if (AtEnd()) return Fail("the text is not closed by a double quote");
    static constexpr char kShort[] = "\"\\/bfnrt";
    static constexpr char kMeaning[] = "\"\\/\b\f\n\r\t";
    char c = Peek();
    for (int i = 0; kShort[i] != '\0'; ++i) {
      if (c == kShort[i]) {
        Next();
        out->push_back(kMeaning[i]);
        return true;
      }
    }
    if (c != 'u') return Fail(absl::StrCat("unknown escape: \\ before ", Found()));
    Next();
    uint32_t unit = 0, low = 0;
    if (!HexQuad(&unit)) return false;
    if (unit >= 0xdc00 && unit <= 0xdfff) return Fail("a low surrogate without the high one before it");
    if (unit >= 0xd800 && unit <= 0xdbff) {
      if (!(Take('\\') && Take('u'))) return Fail("a high surrogate without the low one after it");
      if (!HexQuad(&low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return Fail("a high surrogate without the low one after it");
      unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    AppendUtf8(unit, out);
    return true;
  }

  bool HexQuad(uint32_t* unit) {
    for (int i = 0; i < 4; ++i) {
      char c = AtEnd() ? '\0' : Peek();
      uint32_t digit = c >= '0' && c <= '9'   ? c - '0'
                       : c >= 'a' && c <= 'f' ? c - 'a' + 10
                       : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                              : 16;
      if (digit == 16)
        return Fail(absl::StrCat("expected four hexadecimal digits after \\u, found ", Found()));
      *unit = *unit * 16 + digit;
      Next();
    }
    return true;
  }

  // true, false, null or a number.
  bool Word(SourceNode* node) {
    SourcePosition begin = at_;
    while (!AtEnd() &&
           (isalnum(static_cast<unsigned char>(Peek())) || Peek() == '+' || Peek() == '-' || Peek() == '.')) {
      node->text.push_back(Peek());
      Next();
    }
    if (node->text.empty()) return Fail(absl::StrCat("expected a value, found ", Found()));
    if (node->text == "null") {
      node->text.clear();
      node->kind = SourceNode::Kind::kNull;
      return true;
    }
    node->kind = SourceNode::Kind::kPlain;
    if (node->text == "true" || node->text == "false" || IsNumber(node->text)) return true;
    status_ = SyntaxError(name_, begin, absl::StrCat("expected a value, found ", node->text));
    return false;
  }

  static bool IsNumber(const std::string& text) {
    size_t i = 0;
    auto digits = [&] {
      size_t begin = i;
      while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
      return i > begin;
    };
    if (i < text.size() && text[i] == '-') ++i;
    size_t integer = i;
    if (!digits()) return false;
    if (text[integer] == '0' && i > integer + 1) return false;
    if (i < text.size() && text[i] == '.') {
      ++i;
      if (!digits()) return false;
    }
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
      ++i;
      if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
      if (!digits()) return false;
    }
    return i == text.size();
  }

  void SkipBlanks() {
    while (!AtEnd() && (Peek() == ' ' || Peek() == '\t' || Peek() == '\n' || Peek() == '\r')) Next();
  }
  bool AtEnd() const { return next_ >= text_.size(); }
  char Peek() const { return text_[next_]; }
  void Next() {
    if (text_[next_] == '\n') {
      ++at_.line;
      at_.column = 1;
    } else {
      ++at_.column;
    }
    ++next_;
  }
  bool Take(char c) {
    if (AtEnd() || Peek() != c) return false;
    Next();
    return true;
  }
  std::string Found() const {
    if (AtEnd()) return "the end of the file";
    unsigned char c = Peek();
    return c < 0x20 || c >= 0x7f ? absl::StrFormat("byte 0x%02x", c) : absl::StrFormat("'%c'", c);
  }
  bool Fail(const std::string& message) {
    status_ = SyntaxError(name_, at_, message);
    return false;
  }

  const std::string& name_;
  const std::string& text_;
  size_t next_ = 0;
  SourcePosition at_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<SourceNode> ParseJson(const SourceText& source) { return JsonParser(source).Document(); }

}  // namespace ballast
