// Applies the function to every case of a file, and prints the answers.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"example.test/receiver/tidings"
)

func main() {
	var cases []struct {
		Secret  string
		Headers map[string]string
		Body    []byte
	}
	file, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(file, &cases); err != nil {
		panic(err)
	}
	for _, c := range cases {
		header := http.Header{}
		for name, value := range c.Headers {
			header.Set(name, value)
		}
		fmt.Println(tidings.IsFromTidings(c.Secret, header, c.Body))
	}
}
