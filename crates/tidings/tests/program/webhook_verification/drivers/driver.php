<?php

// Applies the function to every case of a file, and prints the answers.
declare(strict_types=1);
error_reporting(E_ALL);
set_error_handler(fn (int $level, string $message) => throw new ErrorException($message));
require __DIR__ . '/verify.php';

foreach (json_decode(file_get_contents($argv[1]), true, flags: JSON_THROW_ON_ERROR) as $case) {
    $headers = [];
    foreach ($case['headers'] as $name => $value) {
        $headers[ucwords($name, '-')] = $value; // as getallheaders() spells them
    }
    echo json_encode(is_from_tidings($case['secret'], $headers, base64_decode($case['body']))), "\n";
}
