"""The pages. Each module builds one page and wires its handlers; none holds a rule of the product."""
