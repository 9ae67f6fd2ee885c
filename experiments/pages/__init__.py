"""What a person looks at: pictures, the HTML report, tables in the terminal."""
