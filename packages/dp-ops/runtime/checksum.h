// Checksums of files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dp {

/// SHA-256 (FIPS 180-4): 32 bytes.
std::string sha256(std::string_view data);

/// The same as 64 hexadecimal digits.
std::string sha256_hex(std::string_view data);

/// CRC-32 as in zip archives.
uint32_t crc32(std::string_view data);

}  // namespace dp
