"""What a learner is given: tasks, how they are drawn, judged and augmented."""
