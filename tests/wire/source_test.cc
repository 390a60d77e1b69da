// The tree below the strict reader: both languages, positions, and text that is refused.
#include "wire/source.h"

#include <gtest/gtest.h>

#include "wire/utf8.h"

namespace ballast {
namespace {

std::string ErrorOf(const std::string& name, const std::string& text) {
  auto parsed = ParseSource({name, text});
  return parsed.ok() ? "ok" : std::string(parsed.status().message());
}

TEST(Source, YamlPositionsAreThoseOfKeysAndItems) {
  auto root =
      ParseSource({"a.yaml", "# comment\nmodel:\n  moe:\n    top_k: 9\nlist:\n  - one\n  - [2, 'three']\n"});
  ASSERT_TRUE(root.ok()) << root.status();
  ASSERT_EQ(root->entries.size(), 2u);
  const SourceEntry& moe = root->entries[0].value.entries[0];
  EXPECT_EQ(moe.key, "moe");
  EXPECT_EQ(moe.at, (SourcePosition{3, 3}));
  EXPECT_EQ(moe.value.entries[0].at, (SourcePosition{4, 5}));
  EXPECT_EQ(moe.value.entries[0].value.at, (SourcePosition{4, 12}));
  EXPECT_EQ(moe.value.entries[0].value.kind, SourceNode::Kind::kPlain);
  const SourceNode& list = root->entries[1].value;
  EXPECT_EQ(list.items[0].at, (SourcePosition{6, 5}));
  EXPECT_EQ(list.items[1].items[1].at, (SourcePosition{7, 9}));
  EXPECT_EQ(list.items[1].items[1].kind, SourceNode::Kind::kQuoted);
}

TEST(Source, JsonIsChosenByNameOrFirstCharacter) {
  // Tabs between tokens are JSON and are not YAML.
  for (const char* name : {"a.json", "a", "(standard input)"}) {
    auto root = ParseSource({name, "\n{\n\t\"a\":\t[1,\t\"x\"]\n}\n"});
    ASSERT_TRUE(root.ok()) << name << ": " << root.status();
    EXPECT_EQ(root->entries[0].at, (SourcePosition{3, 2}));
    EXPECT_EQ(root->entries[0].value.items[1].at, (SourcePosition{3, 11}));
  }
  EXPECT_TRUE(ParseSource({"a.yaml", "{a: 1}"}).ok());
  EXPECT_FALSE(ParseSource({"a.json", "a: 1"}).ok());
}

TEST(Source, JsonEscapes) {
  auto root = ParseJson({"a.json", R"(["\u0041\u00e9\ud83d\ude00\n\/\\", "", 1.5e-3, true, null])"});
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ(root->items[0].text, "A\xc3\xa9\xf0\x9f\x98\x80\n/\\");
  EXPECT_EQ(root->items[1].kind, SourceNode::Kind::kQuoted);
  EXPECT_EQ(root->items[2].text, "1.5e-3");
  EXPECT_EQ(root->items[3].kind, SourceNode::Kind::kPlain);
  EXPECT_EQ(root->items[4].kind, SourceNode::Kind::kNull);
}

TEST(Source, ByteOrderMarkIsSkipped) {
  EXPECT_TRUE(ParseSource({"a.yaml",
                           "\xef\xbb\xbf"
                           "a: 1\n"})
                  .ok());
  EXPECT_TRUE(ParseSource({"a", "\xef\xbb\xbf{\"a\": 1}"}).ok());
}

struct BadText {
  const char* name;
  std::string text;
  const char* error;
};

TEST(Source, BadText) {
  const std::vector<BadText> cases = {
      {"a.yaml", "", "a.yaml:1:1: the file is empty"},
      {"a.yaml", "# nothing\n", "a.yaml:1:1: the file is empty"},
      {"a.json", " \n", "a.json:1:1: the file is empty"},
      {"a.yaml", "a: 1\n---\nb: 2\n", "a.yaml:1:1: the file holds several documents, allowed is one"},
      {"a.yaml", "a: 1\nb: [1, 2\n", "a.yaml:3:1: syntax error at line 3: end of sequence flow not found"},
      {"a.yaml", "a: 1\nb: c: d\n", "a.yaml:2:5: syntax error at line 2: illegal map value"},
      {"a.yaml", "a: 1\n\tb: 2\n",
       "a.yaml:2:1: syntax error at line 2: illegal tab when looking for indentation"},
      {"a.yaml", "a: \"x\n", "a.yaml:1:4: syntax error at line 1: the text is not closed by a quote"},
      {"a.yaml", "a: \"x\\\"\n", "a.yaml:1:4: syntax error at line 1: the text is not closed by a quote"},
      {"a.yaml", "a: 'it''s\n", "a.yaml:1:4: syntax error at line 1: the text is not closed by a quote"},
      {"a.yaml", "a: 'x", "a.yaml:1:6: syntax error at line 1: illegal EOF in scalar"},
      {"a.yaml", "a: 1\na: 2\n", "a.yaml:2:1: duplicate key \"a\""},
      {"a.yaml", "a: {b: 1, \"b\": 2}\n", "a.yaml:1:11: duplicate key \"b\""},
      {"a.yaml", "a: &x 1\nb: *x\n", "a.yaml:1:4: anchors and aliases are not allowed"},
      {"a.yaml", "a: &x {b: 1}\n", "a.yaml:1:4: anchors and aliases are not allowed"},
      {"a.yaml", "a:\n  <<: {b: 1}\n", "a.yaml:2:3: merge keys are not allowed"},
      {"a.yaml", "a: !!int \"5\"\n", "a.yaml:1:4: tags are not allowed, found tag:yaml.org,2002:int"},
      {"a.yaml", "? [a]\n: 1\n", "a.yaml:1:3: a key must be plain text"},
      {"a.yaml", "? {a: 1}\n: 1\n", "a.yaml:1:3: a key must be plain text"},
      {"a.yaml", "~: 1\n", "a.yaml:1:1: a key must be plain text, found nothing"},
      {"a.yaml", "a: caf\xe9\n", "a.yaml:1:7: not UTF-8: byte 0xe9"},
      {"a.yaml",
       "\xff\xfe"
       "a",
       "a.yaml:1:1: not UTF-8: byte 0xff"},
      {"a.yaml", std::string("a: b\0c", 6),
       "a.yaml:1:5: control character 0x00, allowed are tab and line ends"},
      {"a.yaml", "a: \x1b[31m\n", "a.yaml:1:4: control character 0x1b, allowed are tab and line ends"},
      {"a.yaml", std::string(33, '[') + std::string(33, ']'),
       "a.yaml:1:33: nested deeper than the allowed 32 levels"},
      {"a.json", "{\"a\": 1, \"a\": 2}", "a.json:1:10: duplicate key \"a\""},
      {"a.json", "{\"a\": 1,}",
       "a.json:1:9: syntax error at line 1: expected a key in double quotes, found '}'"},
      {"a.json", "{\"a\": 1",
       "a.json:1:8: syntax error at line 1: expected ',' or '}', found the end of the file"},
      {"a.json", "[1, 2",
       "a.json:1:6: syntax error at line 1: expected ',' or ']', found the end of the file"},
      {"a.json", "{a: 1}", "a.json:1:2: syntax error at line 1: expected a key in double quotes, found 'a'"},
      {"a.json", "{\"a\" 1}", "a.json:1:6: syntax error at line 1: expected ':' after a key, found '1'"},
      {"a.json", "[01]", "a.json:1:2: syntax error at line 1: expected a value, found 01"},
      {"a.json", "[+1]", "a.json:1:2: syntax error at line 1: expected a value, found +1"},
      {"a.json", "[.5]", "a.json:1:2: syntax error at line 1: expected a value, found .5"},
      {"a.json", "[NaN]", "a.json:1:2: syntax error at line 1: expected a value, found NaN"},
      {"a.json", "['a']", "a.json:1:2: syntax error at line 1: expected a value, found '''"},
      {"a.json", "[1] [2]", "a.json:1:5: syntax error at line 1: unexpected '[' after the document"},
      {"a.json", "[\"a\nb\"]",
       "a.json:1:4: syntax error at line 1: a line end or tab inside a text must be written \\n or \\t"},
      {"a.json", "[\"a", "a.json:1:4: syntax error at line 1: the text is not closed by a double quote"},
      {"a.json", "[\"\\x\"]", "a.json:1:4: syntax error at line 1: unknown escape: \\ before 'x'"},
      {"a.json", "[\"\\u12g4\"]",
       "a.json:1:7: syntax error at line 1: expected four hexadecimal digits after \\u, found 'g'"},
      {"a.json", "[\"\\ud83d\"]",
       "a.json:1:9: syntax error at line 1: a high surrogate without the low one after it"},
      {"a.json", "[\"\\ude00\"]",
       "a.json:1:9: syntax error at line 1: a low surrogate without the high one before it"},
      {"a.json", std::string(40, '[') + std::string(40, ']'),
       "a.json:1:34: nested deeper than the allowed 32 levels"},
  };
  for (const BadText& bad : cases) EXPECT_EQ(ErrorOf(bad.name, bad.text), bad.error) << bad.text;
}

TEST(Source, HugeAndDeepFilesAreRefusedQuickly) {
  std::string large(kSourceBytesMax + 1, ' ');
  EXPECT_EQ(ErrorOf("a.yaml", large), "a.yaml:1:1: the file has 4194305 bytes, allowed at most 4194304");
  for (const char* unit : {"[", "{", "- ", "a: {", "? ", "[{"}) {
    std::string deep;
    while (deep.size() < 200'000) deep += unit;
    for (const char* name : {"a.yaml", "a.json"}) {
      auto parsed = ParseSource({name, deep});
      EXPECT_FALSE(parsed.ok()) << name << " " << unit;
      EXPECT_LT(parsed.status().message().size(), 200u);
    }
  }
}

TEST(Source, TheFirstErrorIsTold) {
  // yaml-cpp gives up much later, with less to say.
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += "- ";
  EXPECT_EQ(ErrorOf("a.yaml", deep), "a.yaml:1:65: nested deeper than the allowed 32 levels");
  EXPECT_EQ(ErrorOf("a.yaml", "a: 1\na: 2\nb: [\n"), "a.yaml:2:1: duplicate key \"a\"");
}

TEST(Source, MissingFilesAndFolders) {
  auto missing = ReadSourceFile("/nonexistent/job.yaml");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(missing.status().message(), "/nonexistent/job.yaml: cannot open: No such file or directory");
  EXPECT_EQ(ReadSourceFile("/").status().message(), "/: cannot read: Is a directory");
}

TEST(Utf8, ByTheLetter) {
  EXPECT_EQ(FirstInvalidUtf8("a\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), std::string::npos);
  EXPECT_EQ(FirstInvalidUtf8("a\xc0\x80"), 1u);         // overlong
  EXPECT_EQ(FirstInvalidUtf8("ab\xe0\x9f\xbf"), 2u);    // overlong
  EXPECT_EQ(FirstInvalidUtf8("\xed\xa0\x80"), 0u);      // a surrogate
  EXPECT_EQ(FirstInvalidUtf8("\xf4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8("abc\xe2\x82"), 3u);       // cut
  EXPECT_EQ(FirstInvalidUtf8("\x80"), 0u);
}

}  // namespace
}  // namespace ballast
