"""What is right in the exercises and quizzes: a module a notebook, `n04` for notebook 04.

`ANSWERS` maps the number of an exercise (`"1"`) or of a quiz question (`"quiz 1"`) to a `Choice` or a `Task`.
"""
