"""A day on one page: `reading` asks the lake, `content` is what it says, `page` makes the HTML, `publish` keeps it."""
