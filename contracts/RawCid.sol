// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title IPFS addresses of single raw blocks
 * @notice A file of at most 256 KiB added as one raw block has the CIDv1 whose digest is sha256 of the file itself, so 32
 * bytes on chain name it and `sha256sum` checks it.
 */
library RawCid {
    /// @dev CIDv1, multicodec raw (0x55), multihash sha2-256 (0x12) of 32 bytes (0x20).
    bytes4 private constant PREFIX = 0x01551220;

    /// @dev RFC 4648 base32 in lower case, which multibase calls "b".
    bytes32 private constant ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

    /// @dev 36 bytes are 288 bits: 57 characters of 5 bits and one of 3, filled up with two zero bits on the right.
    uint256 private constant LENGTH = 58;

    /// @notice The address ipfs://bafkrei... of a raw block.
    function uri(bytes32 digest) internal pure returns (string memory) {
        uint256 bits = (uint256(uint32(PREFIX)) << 224) | (uint256(digest) >> 32);
        uint256 rest = uint256(uint32(uint256(digest))) << 2; // the last 32 bits and the two that fill up
        bytes memory text = new bytes(LENGTH);
        for (uint256 i = 0; i < LENGTH; ++i) {
            // Characters 0 to 50 lie in the first 255 bits; the rest take bit 255 and the 34 bits that are left.
            uint256 value = i < 51 ? bits >> (251 - 5 * i) : (((bits & 1) << 34) | rest) >> (5 * (57 - i));
            text[i] = ALPHABET[value & 31];
        }
        return string.concat("ipfs://b", string(text));
    }
}
