// What the second reader reads with is itself right: the examples of FIPS 180-2 and OpenSSL's digests.
#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"
#include "tests/worker/checkpoint/independent_sha256.h"
#include "worker/checkpoint/files.h"

namespace ballast {
namespace {

TEST(IndependentSha256, TheStandardsExamples) {
  EXPECT_EQ(IndependentSha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(IndependentSha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(IndependentSha256(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(IndependentSha256, AgreesWithTheLibraryAtEveryLengthOfALastBlock) {
  Rng rng(11);
  std::string bytes;
  for (int length = 0; length < 200; ++length) {
    EXPECT_EQ(IndependentSha256(bytes),
              Sha256({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()}))
        << length << " bytes";
    bytes.push_back(static_cast<char>(rng.Below(256)));
  }
}

}  // namespace
}  // namespace ballast
